package integration

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

// beyondReach are the rules that decide no answer to the connector, and why.
var beyondReach = map[string]string{
	"keep-unverified-on-wrong-code": "it verifies no factors",
	"omit-credential-sid":           "it makes and reads no factors",
	"entity-exists-60304":           "it makes no entities",
	"accept-quoted-json":            "it sends objects, never texts that hold one",
	"refuse-unknown-parameters":     "it sends no parameter that the reference does not have",
	"clamp-page-size":               "its events and its client take at most 1,000",
	"passkeys-disabled":             "it calls nothing below Passkeys",
	"no-platform-as-403":            "it sends no notification again",
}

// TestEachReadingOfTheAPI: where the API's description is open, each reading of it
// is a rule of the emulator. The connector does its work under each alone, under
// all together, and with lists that lag: what was asked for is done once, and
// every request has the outcome that the API's answers mean. A rule that decided
// none of these answers is one of those beyond its reach.
func TestEachReadingOfTheAPI(t *testing.T) {
	addrs := brokerOf(t)
	all := emulator.Rules{}
	// To prove that nothing was made takes seconds: under the rules that can bear on it.
	proof := map[string]bool{
		"none": true, "all": true, "lists lag": true, "creation-limits": true, "specific-not-found": true, "not-found-as-400": true, "specific-as-403": true,
		"empty-list-without-entity": true, "opaque-page-tokens": true, "reverse-ties": true, "order-by-update": true, "omit-nulls": true,
		"lower-case-identity": true, "case-sensitive-identity": true, "throttle-25109": true, "rate-limit-headers": true,
		"problem-errors": true, "omit-twilio-headers": true, "throttle-as-400": true, "pages-without-token": true,
	}
	run := func(name string, rules emulator.Rules, faults emulator.Faults) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := placeAt(addrs)
			t.Cleanup(func() { at.clean(t) })
			r := newJudgement(t, at, rules)
			r.judge(faults, proof[name])
			if slices.Contains(emulator.RuleNames(), name) {
				if decided := r.api.Stats().Rules[name] > r.before[name]; decided != (beyondReach[name] == "") {
					t.Errorf("%s decided an answer: %v (%s)", name, decided, beyondReach[name])
				}
			}
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
	rules    emulator.Rules
	ahead    atomic.Int64      // nanoseconds by which the API's clock is ahead
	key      *ecdsa.PrivateKey // of signer
	signs    emulator.Factor   // push
	totp     map[string]emulator.Factor
	passkeys emulator.Factor
	sids     map[string]string // of challenges, by the id of their create
	before   map[string]int64  // answers that each rule had decided before the connector called
	ended    map[string]*schemas.Result
}

func newJudgement(t *testing.T, at place, rules emulator.Rules) *judgement {
	t.Helper()
	r := &judgement{rules: rules, totp: map[string]emulator.Factor{}, sids: map[string]string{}, ended: map[string]*schemas.Result{}}
	r.world = newWorldAt(t, at, emulator.Config{Rules: rules, Now: func() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) }})
	r.make(t, 2)
	var err error
	r.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	const signer = "Signer-0001"
	r.signs, err = r.api.AddPushFactor(signer, &r.key.PublicKey)
	must(t, err)
	r.signs.Identity = signer // which the API may show in lower case
	for i, name := range []string{"code right", "code wrong", "for right", "for limit", "for lost"} {
		r.totp[name], err = r.api.AddTOTPFactor(fmt.Sprintf("totp-%04d", i), "")
		must(t, err)
	}
	r.totp["short"] = r.shortFactor("totp-short")
	r.passkeys, err = r.api.AddPasskeysFactor(passkeysIdentity)
	must(t, err)
	r.sids["passkeys"], _ = makePasskeys(t, r.api, `{"identity":"`+passkeysIdentity+`"}`)
	r.sids["discoverable"], _ = makePasskeys(t, r.api, `{}`)
	r.before = r.api.Stats().Rules
	return r
}

// shortFactor has codes of four digits, of which the API documents the lowest limit.
func (r *judgement) shortFactor(identity string) emulator.Factor {
	r.t.Helper()
	const sharedSecret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" // of RFC 6238
	path, form := "/Entities/"+identity+"/Factors", url.Values{
		"FriendlyName": {"short"}, "FactorType": {"totp"}, "Config.CodeLength": {"4"}, "Binding.Secret": {sharedSecret},
	}
	post := func(path string, form url.Values, want int) (f struct {
		SID string `json:"sid"`
	},
	) {
		status, data := postAPI(r.t, r.api, path, "application/x-www-form-urlencoded", form.Encode())
		if status != want {
			r.t.Fatalf("%d: %s", status, data)
		}
		must(r.t, json.Unmarshal(data, &f))
		return f
	}
	sid := post(path, form, 201).SID
	code, err := device.TOTP(sharedSecret, "sha1", 30*time.Second, 4, time.Now())
	must(r.t, err)
	post(path+"/"+sid, url.Values{"AuthPayload": {code}}, 200)
	return emulator.Factor{SID: sid, ServiceSID: emulator.DefaultServiceSID, Identity: identity}
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

// shortLimit is how many challenges a factor with codes of four digits may have in a day.
const shortLimit = 10

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
	cfg.Recovery = connector.RecoveryConfig{Settle: 5 * time.Second, Apart: 250 * time.Millisecond}
	a := cfg.Accounts["main"]
	a.Timeout = 5 * time.Second // a loaded machine answers late, which must not look like a lost answer
	cfg.Accounts["main"] = a
	m := r.run(cfg)
	r.makeAll()
	r.readAndAnswer()
	r.answerLate()
	must(r.t, r.api.SetFaults(faults))
	r.loseAnswers()
	want := r.wanted()
	if proof {
		r.loseRequests()
	} else {
		delete(want, "not made")
		delete(want, "not made for nobody")
		changed := want["list changed"]
		changed.listed--
		want["list changed"] = changed
	}
	r.readLater()
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
	code := r.code("code right")
	reqs := []schemas.Request{
		r.push("push", r.factors[0]),
		r.create("code right", r.totp["code right"], schemas.Create{AuthPayload: code}),
		r.create("code again", r.totp["code right"], schemas.Create{AuthPayload: code}),
		r.create("details", r.totp["code right"], schemas.Create{Details: &schemas.Details{Message: "Sign in?"}}),
		r.create("code wrong", r.totp["code wrong"], schemas.Create{AuthPayload: wrongCode}),
		r.push("no factor", emulator.Factor{SID: "YF" + strings.Repeat("0", 32), ServiceSID: r.signs.ServiceSID, Identity: r.factors[0].Identity}),
		r.push("create passkeys", r.passkeys),
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
	for i := range shortLimit + 1 {
		reqs = append(reqs, r.create(fmt.Sprintf("short %d", i), r.totp["short"], schemas.Create{}))
	}
	r.settle(reqs...)
}

func (r *judgement) readAndAnswer() {
	limited, other := r.totp["for limit"], r.signs
	other.Identity = strings.ToUpper(other.Identity)
	reqs := []schemas.Request{
		r.fetch("fetch in another case", other, r.sids["for signed"]),
		r.fetch("fetch passkeys", r.passkeys, r.made("passkeys")),
		r.fetch("fetch discoverable", r.passkeys, r.made("discoverable")),
		r.list("list passkeys", passkeysIdentity, schemas.List{}),
		r.fetch("fetch", r.factors[0], r.sids["push"]),
		r.fetch("fetch signed", r.signs, r.sids["for signed"]),
		r.fetch("fetch unknown", r.factors[0], "YC"+strings.Repeat("0", 32)),
		r.list("list", r.factors[1].Identity, schemas.List{PageSize: 2}),
		r.list("list nobody", "nobody-0001", schemas.List{}),
		r.list("bad token", r.factors[1].Identity, schemas.List{PageToken: "PB0"}),
		r.update("update passkeys", r.passkeys, r.made("passkeys"), "a.b.c"),
		r.update("update right", r.totp["for right"], r.sids["for right"], r.code("for right")),
		r.update("update empty", r.factors[2], r.sids["for empty"], ""),
		r.update("update forged", r.signs, r.sids["for signed"], "a.b.c"),
	}
	for i := range 5 {
		reqs = append(reqs, r.update(fmt.Sprintf("wrong %d", i), limited, r.sids["for limit"], wrongCode))
	}
	r.settle(append(reqs, r.update("limit", limited, r.sids["for limit"], wrongCode))...)
}

// answerLate uses up the attempts of a challenge whose create was the first of them,
// and sets the metadata of one that is answered.
func (r *judgement) answerLate() {
	wrong, sid := r.totp["code wrong"], r.made("code wrong")
	metadata := r.update("metadata late", r.totp["for right"], r.sids["for right"], "")
	metadata.Update.Metadata = map[string]string{"os": "x"}
	reqs := []schemas.Request{metadata}
	for i := range 4 {
		reqs = append(reqs, r.update(fmt.Sprintf("spent %d", i), wrong, sid, wrongCode))
	}
	r.settle(append(reqs, r.update("spent", wrong, sid, r.code("code wrong")))...)
}

// readLater looks at what changed later than it was made, and at what has expired.
func (r *judgement) readLater() {
	r.ahead.Store(int64(2 * time.Second))
	change := r.update("change", r.factors[1], r.sids["listed 0"], "")
	change.Update.Metadata = map[string]string{"os": "x"}
	r.settle(change)
	r.settle(r.list("list changed", r.factors[1].Identity, schemas.List{}))
	r.ahead.Store(int64(6 * time.Minute)) // challenges live for five
	r.settle(r.fetch("fetch expired", r.factors[0], r.sids["push"]))
}

// made is the SID of a challenge, or that of none where it was not made.
func (r *judgement) made(id string) string {
	return cmp.Or(r.sids[id], "YC"+strings.Repeat("0", 32))
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
		"code again": approved, "details": pending, "fetch in another case": pending, "fetch passkeys": pending,
		"create passkeys": refused(60369), "update passkeys": refused(60369),
		"fetch discoverable": refused(20404), "list passkeys": {outcome: schemas.OutcomeSucceeded, listed: 1},
		"metadata late": refused(60322), "spent": refused(60308), "change": pending,
		"list changed": {outcome: schemas.OutcomeSucceeded, listed: 7}, "fetch expired": {outcome: schemas.OutcomeSucceeded, status: "expired"},
	}
	for i := range shortLimit + 1 {
		out[fmt.Sprintf("short %d", i)] = pending
	}
	for i := range 4 {
		out[fmt.Sprintf("spent %d", i)] = refused(60324)
	}
	for i := range 5 {
		out[fmt.Sprintf("listed %d", i)] = pending
		out[fmt.Sprintf("wrong %d", i)] = refused(60324)
	}
	rules := r.rules
	if rules.CreationLimits {
		out[fmt.Sprintf("short %d", shortLimit)] = refused(60312)
	}
	if rules.RefuseReusedCode {
		out["code again"] = pending
	}
	if rules.FreeCodeAtCreate {
		out["spent"] = approved
	}
	if rules.MetadataAfterAnswer {
		out["metadata late"] = approved
	}
	if rules.KeepPendingOnWrongUpdate {
		for i := range 4 {
			out[fmt.Sprintf("spent %d", i)] = pending
		}
		out["update forged"] = pending
		for i := range 5 {
			out[fmt.Sprintf("wrong %d", i)] = pending
		}
	}
	missing, nobody := refused(20404), refused(20404)
	if rules.SpecificNotFound || rules.NotFoundAs400 || rules.SpecificAs403 {
		missing, nobody = refused(60391), refused(60392)
		out["no factor"], out["not made for nobody"] = refused(60390), nobody
	}
	out["fetch unknown"], out["list nobody"] = missing, nobody
	if rules.RefuseWrongCode {
		out["code wrong"], out["spent"] = refused(60324), missing
		if rules.RefuseReusedCode {
			out["code again"] = refused(60324)
		}
		for i := range 4 {
			out[fmt.Sprintf("spent %d", i)] = missing
		}
	}
	if rules.CaseSensitiveIdentity {
		out["fetch in another case"] = nobody
	}
	if out["fetch discoverable"] = missing; rules.FetchDiscoverable {
		out["fetch discoverable"] = pending
	}
	if rules.HidePasskeys || rules.PasskeysDisabled {
		out["fetch passkeys"], out["fetch discoverable"], out["list passkeys"] = missing, missing, ending{outcome: schemas.OutcomeSucceeded}
		out["update passkeys"] = missing
	}
	if rules.EmptyListWithoutEntity {
		out["list nobody"] = ending{outcome: schemas.OutcomeSucceeded}
	}
	if rules.InvalidAs60300 {
		out["no message"], out["bad token"], out["update empty"] = refused(60300), refused(60300), refused(60300)
	}
	specific := rules.SpecificInvalid || rules.SpecificInvalidAs404 || rules.SpecificAs403
	if specific {
		out["no message"], out["bad token"] = refused(60368), refused(60374)
	}
	if rules.RefuseDetailsForTOTP {
		out["details"] = refused(60306)
		if rules.InvalidAs60300 {
			out["details"] = refused(60300)
		}
		if specific {
			out["details"] = refused(60368)
		}
	}
	if rules.MissingAs20001 {
		out["no message"] = refused(20001)
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
	made := slices.DeleteFunc(r.api.Created(), func(c emulator.Created) bool {
		return c.SID == r.sids["passkeys"] || c.SID == r.sids["discoverable"]
	})
	for _, c := range made {
		if !said[c.SID] {
			r.t.Errorf("the API made %s for factor %s, and no result says so", c.SID, c.FactorSID)
		}
	}
	if len(made) != len(said) {
		r.t.Errorf("%d challenges made, %d in results", len(made), len(said))
	}
}
