package clients

import (
	"time"

	verify "github.com/twilio/twilio-go/rest/verify/v2"
)

func updatePushApproved(w *world) {
	f := w.push()
	sid := w.ask(f)
	w.clock.move(20 * time.Second)
	payload := w.signed(f, sid, "approved")
	got, err := w.api.UpdateChallengeWithMetadata(service, identity, sid, (&verify.UpdateChallengeParams{}).
		SetAuthPayload(payload).SetMetadata(map[string]string{"os": "Android"}))
	must(w, err)
	c := got.GetResource()
	if *c.Status != "approved" || !c.DateResponded.Equal(w.clock.now()) || !equalJSON(c.Metadata, map[string]string{"os": "Android"}) {
		w.Errorf("%+v", c)
	}
	if got.GetHeaders().Get("Twilio-Verify-Challenge-Signature") == "" {
		w.Error("no challenge signature")
	}
}

func updatePushDenied(w *world) {
	f := w.push()
	sid := w.ask(f)
	got, err := w.answer(sid, w.signed(f, sid, "denied"))
	must(w, err)
	if *got.Status != "denied" || got.DateResponded == nil {
		w.Errorf("%+v", got)
	}
}

// updatePushForged: another phone's key, another challenge's payload, no JWS.
func updatePushForged(w *world) {
	f, other := w.push(), w.push()
	sid, second := w.ask(f), w.ask(f)
	for name, payload := range map[string]string{
		"another key": w.signed(other, sid, "approved"), "another challenge": w.signed(f, second, "approved"), "no JWS": "approved",
	} {
		if _, err := w.answer(sid, payload); !w.wantRest(err, 403, 60324) {
			w.Error(name)
		}
	}
	if got, err := w.api.FetchChallenge(service, identity, sid); err != nil || *got.Status != "pending" {
		w.Errorf("%+v, %v", got, err)
	}
}

// pendingTOTP is a challenge that waits for its code.
func (w *world) pendingTOTP(f totp) string {
	w.Helper()
	return *w.create((&verify.CreateChallengeParams{}).SetFactorSid(f.sid)).Sid
}

func updateTOTPRightCode(w *world) {
	f := w.totp(8)
	sid := w.pendingTOTP(f)
	got, err := w.answer(sid, w.code(f))
	must(w, err)
	if *got.Status != "approved" || !got.DateResponded.Equal(w.clock.now()) {
		w.Errorf("%+v", got)
	}
}

func updateTOTPWrongCode(w *world) {
	f := w.totp(0)
	sid := w.pendingTOTP(f)
	_, err := w.answer(sid, w.wrong(f))
	w.wantRest(err, 403, 60324)
	got, err := w.answer(sid, w.code(f))
	must(w, err)
	if *got.Status != "approved" {
		w.Errorf("%+v", got)
	}
}

func updateTOTPCodeReused(w *world) {
	f := w.totp(0)
	w.clock.move(time.Minute) // the code that verified the factor is none for a challenge
	first, second := w.pendingTOTP(f), w.pendingTOTP(f)
	_, err := w.answer(first, w.code(f))
	must(w, err)
	_, err = w.answer(second, w.code(f))
	w.wantRest(err, 403, 60324)
	w.clock.move(30 * time.Second)
	_, err = w.answer(second, w.code(f))
	must(w, err)
}

func updateMetadata(w *world) {
	sid := w.ask(w.push())
	w.clock.move(time.Second)
	got, err := w.api.UpdateChallenge(service, identity, sid, (&verify.UpdateChallengeParams{}).
		SetMetadata(map[string]string{"os": "Android", "note": "<ü> & +"}))
	must(w, err)
	if *got.Status != "pending" || !got.DateUpdated.Equal(w.clock.now()) || !equalJSON(got.Metadata, map[string]string{"os": "Android", "note": "<ü> & +"}) {
		w.Errorf("%+v", got)
	}
}
