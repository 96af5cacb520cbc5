package clients

import (
	"strings"

	verify "github.com/twilio/twilio-go/rest/verify/v2"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

func factorPushLife(w *world) {
	key := newKey(w)
	made, err := w.api.CreateNewFactor(service, identity, w.pushParams(key).SetMetadata(map[string]string{"os": "Any"}))
	must(w, err)
	binding := map[string]string{"alg": "ES256", "public_key": publicText(w, key)}
	if *made.Status != "unverified" || *made.FactorType != "push" || !equalJSON(made.Binding, binding) || !equalJSON(made.Metadata, map[string]string{"os": "Any"}) {
		w.Errorf("%+v", made)
	}
	config, _ := (*made.Config).(map[string]any)
	if config["notification_platform"] != "fcm" || config["app_id"] != "com.example.app" || config["sdk_version"] != "1.0" || config["credential_sid"] == nil {
		w.Errorf("config %v", config)
	}
	proof, err := device.SignFactor(key, *made.Sid)
	must(w, err)
	verified, err := w.api.UpdateFactorWithMetadata(service, identity, *made.Sid, (&verify.UpdateFactorParams{}).SetAuthPayload(proof))
	must(w, err)
	factor := verified.GetResource()
	if *factor.Status != "verified" || verified.GetHeaders().Get("Twilio-Verify-Factor-Signature") == "" {
		w.Errorf("%+v", factor)
	}
	token := strings.Repeat("n", 255)
	_, err = w.api.UpdateFactor(service, identity, *made.Sid, (&verify.UpdateFactorParams{}).
		SetFriendlyName("new phone").SetConfigNotificationToken(token).SetConfigSdkVersion("2.0").SetConfigNotificationPlatform("apn"))
	must(w, err)
	got, err := w.api.FetchFactor(service, identity, *made.Sid)
	must(w, err)
	config, _ = (*got.Config).(map[string]any)
	if *got.FriendlyName != "new phone" || config["notification_token"] != token || config["sdk_version"] != "2.0" || config["notification_platform"] != "apn" {
		w.Errorf("%s with %v", *got.FriendlyName, config)
	}
	must(w, w.api.DeleteFactor(service, identity, *made.Sid))
	_, err = w.api.FetchFactor(service, identity, *made.Sid)
	w.wantRest(err, 404, 20404)
}

func factorTOTPLife(w *world) {
	made, err := w.api.CreateNewFactor(service, identity, (&verify.CreateNewFactorParams{}).SetFriendlyName("app & co").SetFactorType("totp").
		SetBindingSecret("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").SetConfigAlg("sha256").SetConfigTimeStep(60).SetConfigSkew(2).SetConfigCodeLength(8))
	must(w, err)
	if !equalJSON(made.Config, map[string]any{"alg": "sha256", "skew": 2, "code_length": 8, "time_step": 60}) {
		w.Errorf("config %v", *made.Config)
	}
	binding, _ := (*made.Binding).(map[string]any)
	uri, _ := binding["uri"].(string)
	for _, part := range []string{"otpauth://totp/", "app%20&%20co?", "secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "algorithm=SHA256", "digits=8", "period=60"} {
		if !strings.Contains(uri, part) {
			w.Errorf("%s has no %s", uri, part)
		}
	}
	_, err = w.api.UpdateFactor(service, identity, *made.Sid, (&verify.UpdateFactorParams{}).SetAuthPayload("00000000"))
	w.wantRest(err, 403, 60311)
	_, err = w.api.UpdateFactor(service, identity, *made.Sid, (&verify.UpdateFactorParams{}).
		SetConfigAlg("sha1").SetConfigTimeStep(30).SetConfigSkew(1).SetConfigCodeLength(6))
	must(w, err)
	f := totp{*made.Sid, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", 6}
	verified, err := w.api.UpdateFactor(service, identity, f.sid, (&verify.UpdateFactorParams{}).SetAuthPayload(w.code(f)))
	must(w, err)
	if *verified.Status != "verified" || !equalJSON(verified.Config, map[string]any{"alg": "sha1", "skew": 1, "code_length": 6, "time_step": 30}) {
		w.Errorf("%+v", verified)
	}
	must(w, w.api.DeleteFactor(service, identity, f.sid))
}

func factorListPages(w *world) {
	var want []string
	for range 5 {
		want = append(want, w.push().sid)
	}
	want = append(want, w.totp(0).sid)
	before := w.calls(emulator.OperationListFactors)
	factors, err := w.api.ListFactor(service, identity, (&verify.ListFactorParams{}).SetPageSize(2))
	must(w, err)
	if len(factors) != len(want) || w.calls(emulator.OperationListFactors)-before != 3 {
		w.Fatalf("%d factors, want %d", len(factors), len(want))
	}
	for i, f := range factors {
		if *f.Sid != want[i] || *f.Status != "verified" {
			w.Errorf("%d is %s, %s", i, *f.Sid, *f.Status)
		}
	}
}

func entityLife(w *world) {
	made, err := w.api.CreateEntity(service, (&verify.CreateEntityParams{}).SetIdentity(identity))
	must(w, err)
	path := w.e.URL() + "/v2/Services/" + service + "/Entities/" + identity
	links := map[string]string{"factors": path + "/Factors", "new_factors": path + "/Factors", "challenges": path + "/Challenges"}
	if *made.Identity != identity || *made.ServiceSid != service || *made.Url != path || !equalJSON(made.Links, links) {
		w.Errorf("%+v", made)
	}
	got, err := w.api.FetchEntity(service, identity)
	must(w, err)
	if *got.Sid != *made.Sid || !got.DateCreated.Equal(w.clock.now()) {
		w.Errorf("%+v", got)
	}
	must(w, w.api.DeleteEntity(service, identity))
	_, err = w.api.FetchEntity(service, identity)
	w.wantRest(err, 404, 20404)
}

func entityListPages(w *world) {
	names := []string{"user-0001", "user-0002", "user-0003", "user-0004", "user-0005"}
	for _, name := range names {
		_, err := w.api.CreateEntity(service, (&verify.CreateEntityParams{}).SetIdentity(name))
		must(w, err)
	}
	all, err := w.api.ListEntity(service, (&verify.ListEntityParams{}).SetPageSize(2))
	must(w, err)
	if len(all) != len(names) || w.calls(emulator.OperationListEntities) != 3 {
		w.Fatalf("%d entities over %d pages", len(all), w.calls(emulator.OperationListEntities))
	}
	for i, e := range all {
		if *e.Identity != names[i] {
			w.Errorf("%d is %s", i, *e.Identity)
		}
	}
}

func notificationSentAgain(w *world) {
	sid := w.ask(w.push())
	sent, err := w.api.CreateNotification(service, identity, sid, (&verify.CreateNotificationParams{}).SetTtl(0))
	must(w, err)
	if sent.Ttl != 0 || *sent.Priority != "high" || *sent.ChallengeSid != sid || !strings.HasPrefix(*sent.Sid, "NT") {
		w.Errorf("%+v", sent)
	}
	if sent, err = w.api.CreateNotification(service, identity, sid, nil); err != nil || sent.Ttl != 300 {
		w.Errorf("%+v, %v", sent, err)
	}
}

// accessToken: an app that holds no credentials enrols with it, for its own
// identity alone. The app here is no twilio-go,
// which sends no password with dashes.
func accessToken(w *world) {
	made, err := w.api.CreateAccessToken(service, (&verify.CreateAccessTokenParams{}).
		SetIdentity(identity).SetFactorType("push").SetFactorFriendlyName("phone").SetTtl(300))
	must(w, err)
	if made.Ttl != 300 || *made.EntityIdentity != identity || *made.FactorType != "push" || *made.FactorFriendlyName != "phone" || *made.Token == "" {
		w.Errorf("%+v", made)
	}
	got, err := w.api.FetchAccessToken(service, *made.Sid)
	must(w, err)
	if *got.Token != *made.Token || *got.Url != *made.Url || got.Ttl != made.Ttl {
		w.Errorf("%+v", got)
	}
	_, err = device.Enrol(w.Context(), device.Config{
		BaseURL: w.e.URL(), ServiceSID: service, Identity: identity, Username: "token", Password: *made.Token,
		HTTPClient: w.rest.HTTPClient, Now: w.clock.now,
	})
	must(w, err)
	if factors, err := w.api.ListFactor(service, identity, nil); err != nil || len(factors) != 1 || *factors[0].Status != "verified" {
		w.Errorf("%+v, %v", factors, err)
	}
	_, err = w.api.FetchAccessToken(service, "YK"+none)
	w.wantRest(err, 404, 20404)
}

func apiKey(w *world) {
	sid := w.ask(w.push())
	got, err := w.as(keySID, keySecret).FetchChallenge(service, identity, sid)
	must(w, err)
	if *got.AccountSid != emulator.DefaultAccountSID {
		w.Errorf("of account %s", *got.AccountSid)
	}
	_, err = w.as(keySID, "another0secret").FetchChallenge(service, identity, sid)
	w.wantRest(err, 401, 20003)
}
