package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

// TestEachReadingOfTheAPI: where the API's description is open, each reading of it
// is a rule of the emulator. The connector does its work under each alone, under
// all together, and with lists that lag: what was asked for is done once, and
// every request has the outcome that the API's answers mean.
func TestEachReadingOfTheAPI(t *testing.T) {
	addrs := brokerOf(t)
	all := emulator.Rules{}
	// To prove that nothing was made takes seconds: under the rules that can bear on it.
	proof := map[string]bool{
		"none": true, "all": true, "lists lag": true, "creation-limits": true, "specific-not-found": true, "not-found-as-400": true,
		"empty-list-without-entity": true, "opaque-page-tokens": true, "reverse-ties": true, "order-by-update": true, "omit-nulls": true,
		"lower-case-identity": true, "case-sensitive-identity": true, "throttle-25109": true, "rate-limit-headers": true,
		"problem-errors": true, "omit-twilio-headers": true,
	}
	run := func(name string, rules emulator.Rules, faults emulator.Faults) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := placeAt(addrs)
			t.Cleanup(func() { at.clean(t) })
			newJudgement(t, at, rules).judge(faults, proof[name])
		})
	}
	run("none", emulator.Rules{}, emulator.Faults{})
	for _, name := range emulator.RuleNames() {
		var one emulator.Rules
		must(t, one.Set(name))
		must(t, all.Set(name))
		run(name, one, emulator.Faults{})
	}
	lagging := emulator.Faults{ListLag: time.Second}
	run("lists lag", emulator.Rules{}, lagging)
	run("all", all, lagging)
}

// judgement is a world with one reading of the API and all kinds of factors.
type judgement struct {
	*world
	rules emulator.Rules
	key   *ecdsa.PrivateKey // of signer
	signs emulator.Factor   // push
	totp  map[string]emulator.Factor
	sids  map[string]string // of challenges, by the id of their create
	ended map[string]*schemas.Result
}

func newJudgement(t *testing.T, at place, rules emulator.Rules) *judgement {
	t.Helper()
	w := newWorldAt(t, at, emulator.Config{Rules: rules})
	w.make(t, 2)
	r := &judgement{world: w, rules: rules, totp: map[string]emulator.Factor{}, sids: map[string]string{}, ended: map[string]*schemas.Result{}}
	var err error
	r.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	r.signs, err = w.api.AddPushFactor("signer-0001", &r.key.PublicKey)
	must(t, err)
	for i, name := range []string{"code right", "code wrong", "for right", "for limit", "for lost"} {
		r.totp[name], err = w.api.AddTOTPFactor(fmt.Sprintf("totp-%04d", i), "")
		must(t, err)
	}
	return r
}

func (r *judgement) create(id string, f emulator.Factor, c schemas.Create) schemas.Request {
	c.FactorSID = f.SID
	return schemas.Request{ID: id, Operation: schemas.OperationCreate, ServiceSID: f.ServiceSID, Identity: f.Identity, Create: &c}
}

func (r *judgement) push(id string, f emulator.Factor) schemas.Request {
	return r.create(id, f, schemas.Create{Details: &schemas.Details{Message: "Sign in?"}})
}

func (r *judgement) update(id string, f emulator.Factor, sid, payload string) schemas.Request {
	return schemas.Request{
		ID: id, Operation: schemas.OperationUpdate, ServiceSID: f.ServiceSID, Identity: f.Identity, ChallengeSID: sid,
		Update: &schemas.Update{AuthPayload: payload},
	}
}

func (r *judgement) fetch(id string, f emulator.Factor, sid string) schemas.Request {
	return schemas.Request{ID: id, Operation: schemas.OperationFetch, ServiceSID: f.ServiceSID, Identity: f.Identity, ChallengeSID: sid}
}

func (r *judgement) list(id, identity string, l schemas.List) schemas.Request {
	return schemas.Request{ID: id, Operation: schemas.OperationList, ServiceSID: r.signs.ServiceSID, Identity: identity, List: &l}
}

func (r *judgement) code(name string) string {
	code, err := device.TOTP(r.totp[name].Secret, "sha1", 30*time.Second, 6, time.Now())
	must(r.t, err)
	return code
}

// wrongCode never matches: TOTP factors here have six digits.
const wrongCode = "00000000"

// settle sends requests and notes how each ended.
func (r *judgement) settle(reqs ...schemas.Request) {
	r.t.Helper()
	r.send(reqs...)
	got := r.awaitAll()
	if len(got.doubled) > 0 || len(got.deadLetters) > 0 {
		r.t.Errorf("answered twice: %v, dead letters: %d", got.doubled, len(got.deadLetters))
	}
	for _, rs := range got.results {
		r.ended[rs[0].RequestID] = rs[0]
		if sid := glimpseOf(r.t, rs[0]).SID; sid != "" {
			r.sids[rs[0].RequestID] = sid
		}
	}
}

// glimpse is what these tests look at of a challenge.
type glimpse struct {
	SID    string `json:"sid"`
	Status string `json:"status"`
}

func glimpseOf(t testing.TB, r *schemas.Result) (c glimpse) {
	t.Helper()
	if r.Challenge != nil {
		must(t, json.Unmarshal(r.Challenge, &c))
	}
	return c
}

func (r *judgement) judge(faults emulator.Faults, proof bool) {
	cfg := r.config()
	cfg.Recovery = connector.RecoveryConfig{Settle: 3 * time.Second, Apart: 250 * time.Millisecond}
	a := cfg.Accounts["main"]
	a.Timeout = 3 * time.Second
	cfg.Accounts["main"] = a
	m := r.run(cfg)
	r.makeAll()
	r.readAndAnswer()
	must(r.t, r.api.SetFaults(faults))
	r.loseAnswers()
	want := r.wanted()
	if proof {
		r.loseRequests()
	} else {
		delete(want, "not made")
		delete(want, "not made for nobody")
	}
	must(r.t, m.leave())
	for id, ending := range want {
		r.compare(id, ending)
	}
	if len(r.ended) != len(want) {
		r.t.Errorf("%d requests ended, %d are judged", len(r.ended), len(want))
	}
	r.countCreates()
}

func (r *judgement) makeAll() {
	reqs := []schemas.Request{
		r.push("push", r.factors[0]),
		r.create("code right", r.totp["code right"], schemas.Create{AuthPayload: r.code("code right")}),
		r.create("code wrong", r.totp["code wrong"], schemas.Create{AuthPayload: wrongCode}),
		r.push("no factor", emulator.Factor{SID: "YF" + strings.Repeat("0", 32), ServiceSID: r.signs.ServiceSID, Identity: r.factors[0].Identity}),
		r.create("no message", r.factors[3], schemas.Create{Details: &schemas.Details{Fields: []schemas.Field{{Label: "From", Value: "a"}}}}),
		r.push("for empty", r.factors[2]),
		r.push("for signed", r.signs),
	}
	for _, id := range []string{"for right", "for limit", "for lost"} {
		reqs = append(reqs, r.create(id, r.totp[id], schemas.Create{}))
	}
	for i := range 5 {
		reqs = append(reqs, r.push(fmt.Sprintf("listed %d", i), r.factors[1]))
	}
	r.settle(reqs...)
}

func (r *judgement) readAndAnswer() {
	limited := r.totp["for limit"]
	reqs := []schemas.Request{
		r.fetch("fetch", r.factors[0], r.sids["push"]),
		r.fetch("fetch signed", r.signs, r.sids["for signed"]),
		r.fetch("fetch unknown", r.factors[0], "YC"+strings.Repeat("0", 32)),
		r.list("list", r.factors[1].Identity, schemas.List{PageSize: 2}),
		r.list("list nobody", "nobody-0001", schemas.List{}),
		r.list("bad token", r.factors[1].Identity, schemas.List{PageToken: "PB0"}),
		r.update("update right", r.totp["for right"], r.sids["for right"], r.code("for right")),
		r.update("update empty", r.factors[2], r.sids["for empty"], ""),
		r.update("update forged", r.signs, r.sids["for signed"], "a.b.c"),
	}
	for i := range 5 {
		reqs = append(reqs, r.update(fmt.Sprintf("wrong %d", i), limited, r.sids["for limit"], wrongCode))
	}
	r.settle(append(reqs, r.update("limit", limited, r.sids["for limit"], wrongCode))...)
}

// loseAnswers makes a create and an update whose answers are lost.
func (r *judgement) loseAnswers() {
	signed, err := device.SignChallenge(r.key,
		strings.Split(r.ended["fetch signed"].Headers["Twilio-Verify-Signature-Fields"], ","), r.ended["fetch signed"].Challenge, device.StatusApproved)
	must(r.t, err)
	r.settle(r.update("update signed", r.signs, r.sids["for signed"], signed))
	must(r.t, r.api.Script(emulator.OperationCreate, emulator.FaultResetAfter))
	must(r.t, r.api.Script(emulator.OperationUpdate, emulator.FaultResetAfter))
	r.settle(
		r.push("lost", r.factors[1]),
		r.update("update lost", r.totp["for lost"], r.sids["for lost"], r.code("for lost")),
	)
}

// loseRequests makes two creates that have no effect at their first calls. One of
// the calls after that is throttled.
func (r *judgement) loseRequests() {
	nobody := emulator.Factor{SID: "YF" + strings.Repeat("0", 32), ServiceSID: r.signs.ServiceSID, Identity: "nobody-0002"}
	must(r.t, r.api.Script(emulator.OperationCreate, emulator.FaultResetBefore, emulator.FaultResetBefore, emulator.FaultThrottle))
	r.settle(r.push("not made", r.factors[1]), r.push("not made for nobody", nobody))
}

// wanted says how the requests end under the rules.
func (r *judgement) wanted() map[string]ending {
	pending, approved := ending{outcome: schemas.OutcomeSucceeded, status: "pending"}, ending{outcome: schemas.OutcomeSucceeded, status: "approved"}
	out := map[string]ending{
		"push": pending, "code right": approved, "code wrong": pending, "no factor": refused(20404), "no message": refused(60306),
		"for empty": pending, "for signed": pending, "for right": pending, "for limit": pending, "for lost": pending,
		"fetch": pending, "fetch signed": pending, "fetch unknown": refused(20404),
		"list": {outcome: schemas.OutcomeSucceeded, listed: 5}, "list nobody": refused(20404), "bad token": refused(60306),
		"update right": approved, "update empty": refused(60306), "update forged": refused(60324), "limit": refused(60308),
		"update signed": approved, "update lost": {outcome: schemas.OutcomeAdopted, status: "approved"},
		"lost": {outcome: schemas.OutcomeAdopted, status: "pending"}, "not made": pending, "not made for nobody": refused(20404),
	}
	for i := range 5 {
		out[fmt.Sprintf("listed %d", i)] = pending
		out[fmt.Sprintf("wrong %d", i)] = refused(60324)
	}
	rules := r.rules
	if rules.RefuseWrongCode {
		out["code wrong"] = refused(60324)
	}
	if rules.KeepPendingOnWrongUpdate {
		out["update forged"] = pending
		for i := range 5 {
			out[fmt.Sprintf("wrong %d", i)] = pending
		}
	}
	if rules.SpecificNotFound || rules.NotFoundAs400 {
		out["no factor"], out["fetch unknown"], out["list nobody"] = refused(60390), refused(60391), refused(60392)
		out["not made for nobody"] = refused(60392)
	}
	if rules.EmptyListWithoutEntity {
		out["list nobody"] = ending{outcome: schemas.OutcomeSucceeded}
	}
	if rules.InvalidAs60300 {
		out["no message"], out["bad token"], out["update empty"] = refused(60300), refused(60300), refused(60300)
	}
	if rules.SpecificInvalid || rules.SpecificInvalidAs404 {
		out["no message"], out["bad token"] = refused(60368), refused(60374)
	}
	if rules.MissingMessage60368 {
		out["no message"] = refused(60368)
	}
	if rules.AcceptEmptyUpdate {
		out["update empty"] = pending
	}
	return out
}

// ending is how a request ends.
type ending struct {
	outcome schemas.Outcome
	code    int    // the API's, of what it refused
	status  string // the challenge's
	listed  int
}

func refused(code int) ending { return ending{outcome: schemas.OutcomeRejected, code: code} }

func (r *judgement) compare(id string, want ending) {
	r.t.Helper()
	res := r.ended[id]
	if res == nil {
		r.t.Errorf("%s: no result", id)
		return
	}
	got := ending{outcome: res.Outcome, status: glimpseOf(r.t, res).Status, listed: len(res.Challenges)}
	if res.Error != nil {
		got.code = res.Error.Code
		if res.Error.Class != schemas.ClassRejected || res.Error.Message == "" {
			r.t.Errorf("%s: %+v", id, res.Error)
		}
	}
	if got != want {
		r.t.Errorf("%s: %+v, want %+v (%+v)", id, got, want, res.Error)
	}
	seen := map[string]bool{}
	for _, raw := range res.Challenges {
		var c glimpse
		must(r.t, json.Unmarshal(raw, &c))
		seen[c.SID] = true
	}
	if len(seen) != want.listed {
		r.t.Errorf("%s: %d different challenges listed", id, len(seen))
	}
}

// countCreates compares what the API made with what the results say.
func (r *judgement) countCreates() {
	said := map[string]bool{}
	for _, res := range r.ended {
		if res.Operation == schemas.OperationCreate && res.Error == nil {
			said[glimpseOf(r.t, res).SID] = true
		}
	}
	made := r.api.Created()
	for _, c := range made {
		if !said[c.SID] {
			r.t.Errorf("the API made %s for factor %s, and no result says so", c.SID, c.FactorSID)
		}
	}
	if len(made) != len(said) {
		r.t.Errorf("%d challenges made, %d in results", len(made), len(said))
	}
}
