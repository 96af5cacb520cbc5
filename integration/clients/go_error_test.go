package clients

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/twilio/twilio-go/client"
	verify "github.com/twilio/twilio-go/rest/verify/v2"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

// wantRest reports whether err is twilio-go's own error with all that the API
// words one by, and fails otherwise.
func (w *world) wantRest(err error, status, code int) bool {
	w.Helper()
	var rest *client.TwilioRestError
	if !errors.As(err, &rest) || rest.Status != status || rest.Code != code || rest.Message == "" ||
		rest.MoreInfo != fmt.Sprintf("https://www.twilio.com/docs/errors/%d", code) {
		w.Errorf("%v, want %d/%d", err, status, code)
		return false
	}
	return true
}

// wantOther fails where err is twilio-go's error of the API: what went wrong
// was not the API's word.
func (w *world) wantOther(err error, text string) {
	w.Helper()
	var rest *client.TwilioRestError
	if err == nil || errors.As(err, &rest) || !strings.Contains(err.Error(), text) {
		w.Errorf("%v, want an error of another kind with %q", err, text)
	}
}

func error20003(w *world) {
	_, err := w.as(emulator.DefaultAccountSID, "another0token").FetchChallenge(service, identity, "YC"+none)
	w.wantRest(err, 401, 20003)
}

func error20404(w *world) {
	w.push()
	_, err := w.api.FetchChallenge(service, identity, "YC"+none)
	w.wantRest(err, 404, 20404)
	var rest *client.TwilioRestError
	if errors.As(err, &rest) && !strings.Contains(rest.Message, "/Services/"+service+"/Entities/"+identity+"/Challenges/YC"+none) {
		w.Errorf("%q does not name the resource", rest.Message)
	}
	_, err = w.answer("YC"+none, "123456")
	w.wantRest(err, 404, 20404)
	_, err = w.api.ListChallenge(service, "nobody-0001", nil)
	w.wantRest(err, 404, 20404)
	_, err = w.api.CreateChallenge(service, identity, (&verify.CreateChallengeParams{}).SetFactorSid("YF"+none).SetDetailsMessage("m"))
	w.wantRest(err, 404, 20404)
}

func errorSpecificNotFound(w *world) {
	w.push()
	_, err := w.api.CreateChallenge(service, identity, (&verify.CreateChallengeParams{}).SetFactorSid("YF"+none).SetDetailsMessage("m"))
	w.wantRest(err, 404, 60390)
	_, err = w.api.FetchFactor(service, identity, "YF"+none)
	w.wantRest(err, 404, 60390)
	_, err = w.api.FetchChallenge(service, identity, "YC"+none)
	w.wantRest(err, 404, 60391)
	_, err = w.api.FetchEntity(service, "nobody-0001")
	w.wantRest(err, 404, 60392)
}

func error60306Create(w *world) {
	f, app := w.push(), w.totp(0)
	many := make([]any, 21)
	for i := range many {
		many[i] = map[string]string{"label": "l", "value": "v"}
	}
	field := func(label, value string) []any {
		return []any{map[string]string{"label": label, "value": value}}
	}
	ask := func() *verify.CreateChallengeParams {
		return (&verify.CreateChallengeParams{}).SetFactorSid(f.sid).SetDetailsMessage("m")
	}
	for name, p := range map[string]*verify.CreateChallengeParams{
		"no factor":             (&verify.CreateChallengeParams{}).SetDetailsMessage("m"),
		"factor SID":            ask().SetFactorSid("YF12"),
		"no message":            (&verify.CreateChallengeParams{}).SetFactorSid(f.sid),
		"message of 257":        ask().SetDetailsMessage(strings.Repeat("ü", 257)),
		"21 fields":             ask().SetDetailsFields(many),
		"label of 37":           ask().SetDetailsFields(field(strings.Repeat("l", 37), "v")),
		"value of 129":          ask().SetDetailsFields(field("l", strings.Repeat("v", 129))),
		"field without a value": ask().SetDetailsFields([]any{map[string]string{"label": "l"}}),
		"null as a field":       ask().SetDetailsFields([]any{nil}),
		"61 minutes":            ask().SetExpirationDate(w.clock.now().Add(61 * time.Minute)),
		"expired at once":       ask().SetExpirationDate(w.clock.now()),
		"hidden number":         ask().SetHiddenDetails(map[string]any{"n": 1}),
		"hidden text":           ask().SetHiddenDetails(`{"ip":"10.0.0.1"}`), // sent as a quoted text
		"hidden 1025":           ask().SetHiddenDetails(map[string]string{"k": strings.Repeat("v", 1025-8)}),
		"code for push":         ask().SetAuthPayload("123456"),
		"code of 2":             (&verify.CreateChallengeParams{}).SetFactorSid(app.sid).SetAuthPayload("12"),
		"code of 9":             (&verify.CreateChallengeParams{}).SetFactorSid(app.sid).SetAuthPayload("123456789"),
	} {
		if _, err := w.api.CreateChallenge(service, identity, p); !w.wantRest(err, 400, 60306) {
			w.Error(name)
		}
	}
	if n := len(w.e.Created()); n != 0 {
		w.Errorf("%d challenges were made", n)
	}
	for name, p := range map[string]*verify.CreateChallengeParams{
		"message of 256": ask().SetDetailsMessage(strings.Repeat("ü", 256)),
		"20 fields":      ask().SetDetailsFields(many[:20]),
		"label of 36":    ask().SetDetailsFields(field(strings.Repeat("l", 36), strings.Repeat("v", 128))),
		"60 minutes":     ask().SetExpirationDate(w.clock.now().Add(60 * time.Minute)),
		"hidden 1024":    ask().SetHiddenDetails(map[string]string{"k": strings.Repeat("v", 1024-8)}),
		"code of 3":      (&verify.CreateChallengeParams{}).SetFactorSid(app.sid).SetAuthPayload("123"),
	} {
		if _, err := w.api.CreateChallenge(service, identity, p); err != nil {
			w.Errorf("%s: %v", name, err)
		}
	}
}

func error60306Update(w *world) {
	f, app := w.push(), w.totp(0)
	sid, second := w.ask(f), w.pendingTOTP(app)
	for name, tc := range map[string]struct {
		sid string
		p   *verify.UpdateChallengeParams
	}{
		"nothing":          {sid, &verify.UpdateChallengeParams{}},
		"payload of 5457":  {sid, (&verify.UpdateChallengeParams{}).SetAuthPayload(strings.Repeat("x", 5457))},
		"code of 2":        {second, (&verify.UpdateChallengeParams{}).SetAuthPayload("12")},
		"code of 9":        {second, (&verify.UpdateChallengeParams{}).SetAuthPayload("123456789")},
		"metadata of 1025": {sid, (&verify.UpdateChallengeParams{}).SetMetadata(map[string]string{"k": strings.Repeat("v", 1025-8)})},
		"metadata number":  {sid, (&verify.UpdateChallengeParams{}).SetMetadata(map[string]any{"n": 1})},
	} {
		if _, err := w.api.UpdateChallenge(service, identity, tc.sid, tc.p); !w.wantRest(err, 400, 60306) {
			w.Error(name)
		}
	}
	_, err := w.answer(sid, strings.Repeat("x", 5456)) // long enough to be looked at
	w.wantRest(err, 403, 60324)
}

func error60306List(w *world) {
	w.push()
	for name, p := range map[string]*verify.ListChallengeParams{
		"page size 1001": (&verify.ListChallengeParams{}).SetPageSize(1001),
		"page size 0":    (&verify.ListChallengeParams{}).SetPageSize(0),
		"factor SID":     (&verify.ListChallengeParams{}).SetFactorSid("YF12"),
		"status":         (&verify.ListChallengeParams{}).SetStatus("lost"),
		"order":          (&verify.ListChallengeParams{}).SetOrder("sideways"),
	} {
		if _, err := w.api.ListChallenge(service, identity, p); !w.wantRest(err, 400, 60306) {
			w.Error(name)
		}
	}
	for name, token := range map[string]string{"of another form": "x", "unknown": "DNYC" + none} {
		if _, err := w.api.PageChallenge(service, identity, nil, token, "1"); !w.wantRest(err, 400, 60306) {
			w.Error(name)
		}
	}
	_, err := w.api.PageChallenge(service, identity, nil, "", "-1")
	w.wantRest(err, 400, 60306)
}

func error60306Names(w *world) {
	w.push()
	_, err := w.api.FetchChallenge("VA12", identity, "YC"+none)
	w.wantRest(err, 400, 60306)
	_, err = w.api.FetchChallenge(service, "short", "YC"+none)
	w.wantRest(err, 400, 60306)
	_, err = w.api.FetchChallenge(service, strings.Repeat("x", 65), "YC"+none)
	w.wantRest(err, 400, 60306)
	_, err = w.api.FetchChallenge(service, identity, "YC12")
	w.wantRest(err, 400, 60306)
	_, err = w.api.CreateEntity(service, (&verify.CreateEntityParams{}).SetIdentity("jane@example.com"))
	w.wantRest(err, 400, 60306)
}

func errorFactorParameters(w *world) {
	key := newKey(w)
	push := func() *verify.CreateNewFactorParams { return w.pushParams(key) }
	totp := func() *verify.CreateNewFactorParams {
		return (&verify.CreateNewFactorParams{}).SetFriendlyName("app").SetFactorType("totp")
	}
	for name, tc := range map[string]struct {
		code int
		p    *verify.CreateNewFactorParams
	}{
		"no name":       {20001, (&verify.CreateNewFactorParams{}).SetFactorType("totp")},
		"name of 65":    {60306, totp().SetFriendlyName(strings.Repeat("n", 65))},
		"type":          {60369, totp().SetFactorType("sms")},
		"key":           {60314, push().SetBindingPublicKey(base64.StdEncoding.EncodeToString([]byte("no key")))},
		"algorithm":     {60314, push().SetBindingAlg("RS256")},
		"secret":        {60314, totp().SetBindingSecret("not Base32")},
		"token of 31":   {60306, push().SetConfigNotificationToken(strings.Repeat("t", 31))},
		"platform":      {60306, push().SetConfigNotificationPlatform("wns")},
		"app of 101":    {60306, push().SetConfigAppId(strings.Repeat("a", 101))},
		"time step 19":  {60306, totp().SetConfigTimeStep(19)},
		"time step 61":  {60306, totp().SetConfigTimeStep(61)},
		"skew 3":        {60306, totp().SetConfigSkew(3)},
		"code length 9": {60306, totp().SetConfigCodeLength(9)},
		"alg":           {60306, totp().SetConfigAlg("md5")},
		"metadata":      {60306, totp().SetMetadata(map[string]any{"n": 1})},
	} {
		if _, err := w.api.CreateNewFactor(service, identity, tc.p); !w.wantRest(err, 400, tc.code) {
			w.Error(name)
		}
	}
	_, err := w.api.CreateAccessToken(service, (&verify.CreateAccessTokenParams{}).SetIdentity(identity).SetFactorType("totp"))
	w.wantRest(err, 400, 60305)
}

func error60301(w *world) {
	_, err := w.api.CreateEntity(service, (&verify.CreateEntityParams{}).SetIdentity(identity))
	must(w, err)
	_, err = w.api.CreateEntity(service, (&verify.CreateEntityParams{}).SetIdentity(strings.ToUpper(identity)))
	w.wantRest(err, 409, 60301)
}

func error60315(w *world) {
	for range 20 {
		_, err := w.api.CreateNewFactor(service, identity, w.pushParams(newKey(w)))
		must(w, err)
	}
	_, err := w.api.CreateNewFactor(service, identity, w.pushParams(newKey(w)))
	w.wantRest(err, 400, 60315)
}

func error60317(w *world) {
	p := w.pushParams(newKey(w))
	_, err := w.api.CreateNewFactor(service, identity, p)
	must(w, err)
	_, err = w.api.CreateNewFactor(service, identity, p)
	w.wantRest(err, 409, 60317)
}

func error60318(w *world) {
	made, err := w.api.CreateNewFactor(service, identity, w.pushParams(newKey(w)))
	must(w, err)
	_, err = w.api.CreateChallenge(service, identity, (&verify.CreateChallengeParams{}).SetFactorSid(*made.Sid).SetDetailsMessage("m"))
	w.wantRest(err, 403, 60318)
}

func error60322(w *world) {
	f := w.push()
	sid := w.ask(f)
	payload := w.signed(f, sid, "approved")
	_, err := w.answer(sid, payload)
	must(w, err)
	_, err = w.answer(sid, payload)
	w.wantRest(err, 403, 60322)
	_, err = w.api.UpdateChallenge(service, identity, sid, (&verify.UpdateChallengeParams{}).SetMetadata(map[string]string{"os": "Any"}))
	w.wantRest(err, 403, 60322)
}

func error60323(w *world) {
	f := w.push()
	sid := w.ask(f)
	payload := w.signed(f, sid, "approved")
	w.clock.move(5 * time.Minute)
	_, err := w.answer(sid, payload)
	w.wantRest(err, 403, 60323)
}

func error60308(w *world) {
	f := w.totp(0)
	sid := w.pendingTOTP(f)
	for range 5 {
		_, err := w.answer(sid, w.wrong(f))
		w.wantRest(err, 403, 60324)
	}
	_, err := w.answer(sid, w.code(f))
	w.wantRest(err, 429, 60308)
}

func error60309(w *world) {
	sid := w.ask(w.push())
	for range 3 {
		_, err := w.api.CreateNotification(service, identity, sid, nil)
		must(w, err)
	}
	_, err := w.api.CreateNotification(service, identity, sid, nil)
	w.wantRest(err, 429, 60309)
	_, err = w.api.CreateNotification(service, identity, sid, (&verify.CreateNotificationParams{}).SetTtl(301))
	w.wantRest(err, 400, 60306)
	key := newKey(w)
	made, err := w.api.CreateNewFactor(service, identity, w.pushParams(key).SetConfigNotificationPlatform("none"))
	must(w, err)
	proof, err := device.SignFactor(key, *made.Sid)
	must(w, err)
	_, err = w.api.UpdateFactor(service, identity, *made.Sid, (&verify.UpdateFactorParams{}).SetAuthPayload(proof))
	must(w, err)
	_, err = w.api.CreateNotification(service, identity, w.ask(push{*made.Sid, key}), nil)
	w.wantRest(err, 400, 60307)
}

func error60310(w *world) {
	made, err := w.api.CreateNewFactor(service, identity, (&verify.CreateNewFactorParams{}).SetFriendlyName("app").SetFactorType("totp"))
	must(w, err)
	binding, _ := (*made.Binding).(map[string]any)
	text, _ := binding["secret"].(string)
	f := totp{*made.Sid, text, 6}
	verifyWith := func(code string) error {
		_, err := w.api.UpdateFactor(service, identity, f.sid, (&verify.UpdateFactorParams{}).SetAuthPayload(code))
		return err
	}
	for range 5 {
		w.wantRest(verifyWith(w.wrong(f)), 403, 60311)
	}
	w.wantRest(verifyWith(w.code(f)), 429, 60310)
}

// error60312: 10 in 24 hours for codes of 4 digits, 50 in an hour for longer ones.
func error60312(w *world) {
	for digits, most := range map[int]int{4: 10, 5: 50} {
		f := w.totp(digits)
		ask := (&verify.CreateChallengeParams{}).SetFactorSid(f.sid)
		for range most {
			w.create(ask)
		}
		_, err := w.api.CreateChallenge(service, identity, ask)
		w.wantRest(err, 429, 60312)
	}
}

// faults replaces what goes wrong with fetches.
func (w *world) faults(f emulator.Faults) {
	w.Helper()
	f.Operations = []emulator.Operation{emulator.OperationFetch}
	must(w, w.e.SetFaults(f))
}

func (w *world) fetch(sid string) error {
	_, err := w.api.FetchChallenge(service, identity, sid)
	return err
}

func error20429(w *world) {
	sid := w.ask(w.push())
	w.faults(emulator.Faults{ThrottleRate: 1, RetryAfter: 3 * time.Second})
	w.wantRest(w.fetch(sid), 429, 20429)
	if header, _ := w.seen.last(); header.Get("Retry-After") != "3" {
		w.Errorf("Retry-After %q", header.Get("Retry-After"))
	}
	if n := w.calls(emulator.OperationFetch); n != 1 {
		w.Errorf("%d calls: twilio-go repeats nothing", n)
	}
}

func error5xx(w *world) {
	sid := w.ask(w.push())
	for status, code := range map[int]int{500: 20500, 503: 20503} {
		w.faults(emulator.Faults{ServerErrorRate: 1, ServerErrorStatus: status})
		w.wantRest(w.fetch(sid), status, code)
	}
	w.faults(emulator.Faults{ServerErrorRate: 1, ServerErrorStatus: 502}) // a gateway's page
	w.wantOther(w.fetch(sid), "502")
}

// errorProblemBody: of an error in the words of RFC 9457, twilio-go keeps the status
// and the code.
func errorProblemBody(w *world) {
	f := w.push()
	_, tooLong := w.api.CreateChallenge(service, identity, (&verify.CreateChallengeParams{}).SetFactorSid(f.sid).SetDetailsMessage(strings.Repeat("m", 257)))
	_, missing := w.api.FetchChallenge(service, identity, "YC"+none)
	_, forged := w.answer(w.ask(f), "a.b.c")
	for want, err := range map[[2]int]error{{400, 60306}: tooLong, {404, 20404}: missing, {403, 60324}: forged} {
		var rest *client.TwilioRestError
		if !errors.As(err, &rest) || rest.Status != want[0] || rest.Code != want[1] || rest.Message != "" || rest.MoreInfo != "" {
			w.Errorf("%v, want %v and nothing else", err, want)
		}
	}
}

// errorGarbledAnswer: the challenge is made, and no client can know it.
func errorGarbledAnswer(w *world) {
	f := w.push()
	must(w, w.e.SetFaults(emulator.Faults{GarbledRate: 1}))
	_, err := w.api.CreateChallenge(service, identity, (&verify.CreateChallengeParams{}).SetFactorSid(f.sid).SetDetailsMessage("m"))
	w.wantOther(err, "invalid character '<'")
	if made := w.e.Created(); len(made) != 1 {
		w.Errorf("%d challenges were made", len(made))
	}
}

func errorConnectionReset(w *world) {
	sid := w.ask(w.push())
	w.faults(emulator.Faults{ResetAfterRate: 1})
	err := w.fetch(sid)
	w.wantOther(err, "")
	if !errors.Is(err, syscall.ECONNRESET) {
		w.Errorf("%v, want a reset", err)
	}
}

func errorTimeout(w *world) {
	sid := w.ask(w.push())
	w.faults(emulator.Faults{Latency: emulator.Latency{Fixed: time.Hour}})
	w.rest.SetTimeout(200 * time.Millisecond)
	err := w.fetch(sid)
	w.wantOther(err, "")
	var network net.Error
	if !errors.As(err, &network) || !network.Timeout() {
		w.Errorf("%v, want a timeout", err)
	}
}

// errorInTheMiddleOfAList: what was streamed before it is not lost, and the end
// is told.
func errorInTheMiddleOfAList(w *world) {
	w.askMany(w.push(), 5)
	must(w, w.e.Script(emulator.OperationList, emulator.FaultNone, emulator.FaultServerError))
	stream, failed := w.api.StreamChallenge(service, identity, (&verify.ListChallengeParams{}).SetPageSize(2))
	n := 0
	for range stream {
		n++
	}
	w.wantRest(<-failed, 500, 20500)
	if n != 2 {
		w.Errorf("%d streamed before the error", n)
	}
}
