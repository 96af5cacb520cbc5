package clients

import (
	"encoding/json"
	"reflect"
	"time"

	verify "github.com/twilio/twilio-go/rest/verify/v2"

	"github.com/countersign/countersign/internal/emulator"
)

// What a full create sends, with characters that forms and JSON escape.
var (
	fullMessage = `Sign in to <Portal> & "more"? 100 % + ünï`
	fullFields  = []any{
		map[string]string{"label": "Action", "value": "Sign in & stay"},
		map[string]string{"label": "Where", "value": "Zürich + 5.5 km"},
	}
	fullHidden = map[string]string{"ip": "10.0.0.1", "note": `<a href="x">&amp;</a> ümlaut`}
)

// equalJSON reports whether two values are the same JSON.
func equalJSON(a, b any) bool {
	read := func(v any) (out any) {
		data, _ := json.Marshal(v)
		_ = json.Unmarshal(data, &out)
		return out
	}
	return reflect.DeepEqual(read(a), read(b))
}

func (w *world) create(p *verify.CreateChallengeParams) *verify.VerifyV2Challenge {
	w.Helper()
	made, err := w.api.CreateChallenge(service, identity, p)
	must(w, err)
	return made
}

func createPushFull(w *world) {
	f := w.push()
	expires := w.clock.now().Add(30 * time.Minute)
	made := w.create((&verify.CreateChallengeParams{}).SetFactorSid(f.sid).SetDetailsMessage(fullMessage).
		SetDetailsFields(fullFields).SetHiddenDetails(fullHidden).SetExpirationDate(expires))
	if *made.Status != "pending" || *made.RespondedReason != "none" || *made.FactorType != "push" || made.DateResponded != nil {
		w.Errorf("%+v", made)
	}
	if *made.FactorSid != f.sid || *made.ServiceSid != service || *made.Identity != identity || *made.AccountSid != emulator.DefaultAccountSID {
		w.Errorf("made for %s of %s at %s", *made.FactorSid, *made.Identity, *made.ServiceSid)
	}
	if !made.ExpirationDate.Equal(expires) || !made.DateCreated.Equal(w.clock.now()) || !made.DateUpdated.Equal(w.clock.now()) {
		w.Errorf("created %v, updated %v, expires %v", made.DateCreated, made.DateUpdated, made.ExpirationDate)
	}
	if !equalJSON(made.Details, map[string]any{"message": fullMessage, "fields": fullFields}) {
		w.Errorf("details %v", *made.Details)
	}
	if !equalJSON(made.HiddenDetails, fullHidden) || made.Metadata != nil {
		w.Errorf("hidden details %v, metadata %v", *made.HiddenDetails, made.Metadata)
	}
	created := w.e.Created()
	if len(created) != 1 || created[0].SID != *made.Sid || !created[0].Answered {
		w.Errorf("the API made %+v", created)
	}
}

func createPushMinimal(w *world) {
	f := w.push()
	made := w.create((&verify.CreateChallengeParams{}).SetFactorSid(f.sid).SetDetailsMessage("Sign in?"))
	if !made.ExpirationDate.Equal(w.clock.now().Add(5 * time.Minute)) {
		w.Errorf("expires %v, want after 5 minutes", made.ExpirationDate)
	}
	if !equalJSON(made.Details, map[string]any{"message": "Sign in?", "fields": []any{}}) || made.HiddenDetails != nil {
		w.Errorf("details %v, hidden %v", *made.Details, made.HiddenDetails)
	}
}

// createExpirationWithZone: twilio-go sends the offset as it was given.
func createExpirationWithZone(w *world) {
	f := w.push()
	expires := w.clock.now().Add(30 * time.Minute).In(time.FixedZone("", 3600))
	made := w.create((&verify.CreateChallengeParams{}).SetFactorSid(f.sid).SetDetailsMessage("m").SetExpirationDate(expires))
	if !made.ExpirationDate.Equal(expires) {
		w.Errorf("expires %v, want %v", made.ExpirationDate, expires)
	}
}

func createTOTPRightCode(w *world) {
	f := w.totp(0)
	made := w.create((&verify.CreateChallengeParams{}).SetFactorSid(f.sid).SetAuthPayload(w.code(f)))
	if *made.Status != "approved" || *made.FactorType != "totp" || made.DateResponded == nil || !made.DateResponded.Equal(w.clock.now()) {
		w.Errorf("%+v", made)
	}
	if made.Details != nil {
		w.Errorf("details %v", *made.Details)
	}
}

func createTOTPWrongCode(w *world) {
	f := w.totp(0)
	made := w.create((&verify.CreateChallengeParams{}).SetFactorSid(f.sid).SetAuthPayload(w.wrong(f)))
	if *made.Status != "pending" || made.DateResponded != nil {
		w.Errorf("%+v", made)
	}
}

func createTOTPWrongCodeRefused(w *world) {
	f := w.totp(0)
	_, err := w.api.CreateChallenge(service, identity, (&verify.CreateChallengeParams{}).SetFactorSid(f.sid).SetAuthPayload(w.wrong(f)))
	w.wantRest(err, 403, 60324)
	if n := len(w.e.Created()); n != 0 {
		w.Errorf("%d challenges were made", n)
	}
}

// createAsInTheDocuments: the documents' example has the details of a push and a
// code of 8 digits, for a factor of type totp.
func createAsInTheDocuments(w *world) {
	f := w.totp(8)
	made := w.create((&verify.CreateChallengeParams{}).SetFactorSid(f.sid).SetAuthPayload(w.code(f)).
		SetDetailsMessage("Hi! Mr. John Doe, would you like to sign up?").SetHiddenDetails(map[string]any{"ip": "127.0.0.1"}).
		SetDetailsFields([]any{
			map[string]any{"label": "Action", "value": "Sign up in portal"},
			map[string]any{"label": "Location", "value": "California"},
		}))
	if *made.Status != "approved" || *made.FactorType != "totp" || !equalJSON(made.HiddenDetails, map[string]string{"ip": "127.0.0.1"}) {
		w.Errorf("%+v", made)
	}
	details, _ := (*made.Details).(map[string]any)
	if fields, _ := details["fields"].([]any); len(fields) != 2 || details["message"] != "Hi! Mr. John Doe, would you like to sign up?" {
		w.Errorf("details %v", details)
	}
}

// createHiddenDetailsAsText: twilio-go quotes a text, and the rule unwraps it.
func createHiddenDetailsAsText(w *world) {
	made := w.create((&verify.CreateChallengeParams{}).SetFactorSid(w.push().sid).SetDetailsMessage("m").
		SetHiddenDetails(`{"ip":"10.0.0.1"}`))
	if !equalJSON(made.HiddenDetails, map[string]string{"ip": "10.0.0.1"}) {
		w.Errorf("hidden details %v", *made.HiddenDetails)
	}
}

func createDetailsWithDate(w *world) {
	made := w.create((&verify.CreateChallengeParams{}).SetFactorSid(w.push().sid).SetDetailsMessage("m"))
	if details, _ := (*made.Details).(map[string]any); details["date"] != "2026-03-04T05:06:07Z" {
		w.Errorf("details %v", details)
	}
}

func fetchEveryProperty(w *world) {
	f := w.push()
	made := w.create((&verify.CreateChallengeParams{}).SetFactorSid(f.sid).SetDetailsMessage(fullMessage).
		SetDetailsFields(fullFields).SetHiddenDetails(fullHidden))
	got, err := w.api.FetchChallenge(service, identity, *made.Sid)
	must(w, err)
	if !reflect.DeepEqual(got, made) {
		w.Errorf("fetched %+v, made %+v", got, made)
	}
	path := w.e.URL() + "/v2/Services/" + service + "/Entities/" + identity + "/Challenges/" + *made.Sid
	if *got.Url != path || !equalJSON(got.Links, map[string]string{"notifications": path + "/Notifications"}) {
		w.Errorf("url %s, links %v", *got.Url, *got.Links)
	}
}

func fetchSignatureFields(w *world) {
	sid := w.ask(w.push())
	got, err := w.api.FetchChallengeWithMetadata(service, identity, sid)
	must(w, err)
	const want = "sid,account_sid,service_sid,identity,factor_sid,date_created,expiration_date,details,hidden_details"
	if fields := got.GetHeaders().Get("Twilio-Verify-Signature-Fields"); fields != want || got.GetStatusCode() != 200 {
		w.Errorf("status %d, fields %q", got.GetStatusCode(), fields)
	}
}

func fetchExpired(w *world) {
	sid := w.ask(w.push())
	w.clock.move(5 * time.Minute)
	got, err := w.api.FetchChallenge(service, identity, sid)
	must(w, err)
	if *got.Status != "expired" || got.DateResponded != nil {
		w.Errorf("%+v", got)
	}
}

func fetchIdentityInOtherCase(w *world) {
	sid := w.ask(w.push())
	got, err := w.api.FetchChallenge(service, "FF483D1FF591898A9942916050D2CA3F", sid)
	must(w, err)
	if *got.Sid != sid || *got.Identity != identity {
		w.Errorf("%s of %s", *got.Sid, *got.Identity)
	}
}
