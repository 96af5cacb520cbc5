package emulator_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

// wrongCode never matches: TOTP factors here have six digits.
const wrongCode = "00000000"

// ruled serves under these rules, with a clock.
func ruled(t *testing.T, r emulator.Rules) (*api, *clock) {
	t.Helper()
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, Rules: r, PublicURL: "http://emulator.test"})
	included := map[string]bool{
		"specific-not-found": r.NotFoundAs400 || r.SpecificAs403, "specific-invalid": r.SpecificInvalidAs404 || r.SpecificAs403,
		"throttle-25109": r.ThrottleAs400,
	}
	t.Cleanup(func() {
		for name := range a.e.Stats().Rules {
			on := r
			if err := on.Set(name); err != nil || on != r && !included[name] {
				t.Errorf("%q decided an answer, on are %+v", name, r)
			}
		}
	})
	return a, c
}

func TestRuleNames(t *testing.T) {
	names := emulator.RuleNames()
	if sorted := slices.Compact(slices.Sorted(slices.Values(names))); len(sorted) != len(names) || len(names) < 30 {
		t.Errorf("names %q", names)
	}
	wordStart := regexp.MustCompile(`([a-z])([A-Z0-9])|([A-Z])([A-Z][a-z])`)
	for i, name := range names {
		var r emulator.Rules
		if err := r.Set(name); err != nil {
			t.Fatal(err)
		}
		field := reflect.TypeFor[emulator.Rules]().Field(i)
		for j, on := range []bool{reflect.ValueOf(r).Field(i).Bool(), reflect.ValueOf(r).Field((i + 1) % len(names)).Bool()} {
			if on != (j == 0) {
				t.Errorf("%s does not switch %s and nothing else", name, field.Name)
			}
		}
		if want := strings.ToLower(wordStart.ReplaceAllString(field.Name, "$1$3-$2$4")); name != want {
			t.Errorf("%s is named %q, want %q", field.Name, name, want)
		}
	}
	var failed *emulator.Error
	if err := new(emulator.Rules).Set("no-rule"); !errors.As(err, &failed) || failed.Code != emulator.CodeRule ||
		!strings.Contains(failed.Message, "order-by-update") {
		t.Errorf("an unknown name: %v", err)
	}
}

func TestRuleNotFoundAs400(t *testing.T) {
	a, _ := ruled(t, emulator.Rules{NotFoundAs400: true})
	a.want(a.get(challenges(identity)), 400, 60392)
	f, _ := a.pushFactor()
	a.want(a.get(challenges(identity)+"/YC"+noSID), 400, 60391)
	a.want(a.post(challenges(identity), pushForm("YF"+noSID)), 400, 60390)
	a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0)
	a.want(a.get("/v2/nothing"), 404, 20404)
}

func TestRuleSpecificAs403(t *testing.T) {
	a, _ := ruled(t, emulator.Rules{SpecificAs403: true})
	a.want(a.get(challenges(identity)), 403, 60392)
	f := a.passkeysFactor()
	a.want(a.get(challenges(identity)+"/YC"+noSID), 403, 60391)
	a.want(a.post(challenges(identity), pushForm("YF"+noSID)), 403, 60390)
	a.want(a.post(challenges(identity), pushForm(f.SID)), 403, 60369)
	a.want(a.get("/v2/nothing"), 404, 20404)
	b, _ := ruled(t, emulator.Rules{SpecificAs403: true, NotFoundAs400: true, SpecificInvalidAs404: true, MissingMessage60368: true})
	b.want(b.get(challenges(identity)), 403, 60392)
	b.want(b.get(challenges(identity)+"?PageToken=x"), 403, 60374)
	g, _ := b.pushFactor()
	b.want(b.post(challenges(identity), url.Values{"FactorSid": {g.SID}}), 403, 60368)
}

func TestRuleEmptyListWithoutEntity(t *testing.T) {
	for _, on := range []bool{false, true} {
		a, _ := ruled(t, emulator.Rules{EmptyListWithoutEntity: on})
		if !on {
			a.want(a.get(challenges(identity)), 404, 20404)
			continue
		}
		if got := a.list(challenges(identity)); len(got.sids) != 0 || got.nextSet || got.prevSet {
			t.Errorf("%+v", got)
		}
		a.want(a.get(challenges(identity)+"/YC"+noSID), 404, 20404)
		a.want(a.get(challenges(identity)+"?PageToken=DNYC"+noSID), 400, 60306)
	}
}

func TestRulesOfInvalidParameters(t *testing.T) {
	for _, tc := range []struct {
		name                                      string
		rules                                     emulator.Rules
		status                                    int
		factor, challenge, size, token, text, all int // codes; all: what has none of its own
		missing                                   int // the message
	}{
		{"default", emulator.Rules{}, 400, 60306, 60306, 60306, 60306, 60306, 60306, 60306},
		{"generic", emulator.Rules{InvalidAs60300: true}, 400, 60300, 60300, 60300, 60300, 60300, 60300, 60300},
		{"specific", emulator.Rules{SpecificInvalid: true}, 400, 60362, 60364, 60373, 60374, 60368, 60306, 60368},
		{"specific as 404", emulator.Rules{SpecificInvalidAs404: true}, 404, 60362, 60364, 60373, 60374, 60368, 60306, 60368},
		{"specific as 403", emulator.Rules{SpecificAs403: true}, 403, 60362, 60364, 60373, 60374, 60368, 60306, 60368},
		{"both", emulator.Rules{InvalidAs60300: true, SpecificInvalid: true}, 400, 60362, 60364, 60373, 60374, 60368, 60300, 60368},
		{"message", emulator.Rules{MissingMessage60368: true}, 400, 60306, 60306, 60306, 60306, 60306, 60306, 60368},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, _ := ruled(t, tc.rules)
			f, _ := a.pushFactor()
			a.want(a.post(challenges(identity), pushForm("YF")), tc.status, tc.factor)
			a.want(a.get(challenges(identity)+"/YC"), tc.status, tc.challenge)
			a.want(a.get(challenges(identity)+"?PageSize=0"), tc.status, tc.size)
			a.want(a.get(challenges(identity)+"?PageToken=x"), tc.status, tc.token)
			a.want(a.post(challenges(identity), with(pushForm(f.SID), "Details.Message", strings.Repeat("x", 257))), tc.status, tc.text)
			a.want(a.post(challenges(identity), with(pushForm(f.SID), "HiddenDetails", "x")), 400, tc.all)
			fields := url.Values{"FactorSid": {f.SID}, "Details.Fields": {`{"label":"a","value":"b"}`}}
			status := tc.status
			if tc.rules.MissingMessage60368 {
				status = 400
			}
			a.want(a.post(challenges(identity), fields), status, tc.missing)
			if tc.factor == 60362 {
				a.want(a.get(strings.Replace(challenges(identity), service, "VA", 1)), tc.status, 60363)
				a.want(a.get(challenges("short")), tc.status, 60367)
				a.want(a.post(factors(identity), with(newTOTP(), "Config.Skew", "3")), tc.status, 60370)
			}
		})
	}
}

func TestRuleKeepPendingOnWrongUpdate(t *testing.T) {
	a, _ := ruled(t, emulator.Rules{KeepPendingOnWrongUpdate: true})
	f, key := a.pushFactor()
	p := a.pushed(f.SID)
	form := url.Values{"AuthPayload": {p.sign(t, newKey(t), "approved")}, "Metadata": {`{"os":"x"}`}}
	if r := a.want(a.post(p.path, form), 200, 0); r.text("status") != "pending" || r.body["metadata"] != nil {
		t.Errorf("after a forged payload: %s", r.raw)
	}
	if r := a.want(a.answer(p, p.sign(t, key, "approved")), 200, 0); r.text("status") != "approved" {
		t.Errorf("%s", r.raw)
	}
	sid := a.want(a.post(challenges(identity), url.Values{"FactorSid": {a.totpFactor().SID}}), 201, 0).text("sid")
	for range 5 {
		if r := a.want(a.post(challenges(identity)+"/"+sid, url.Values{"AuthPayload": {wrongCode}}), 200, 0); r.text("status") != "pending" {
			t.Errorf("%s", r.raw)
		}
	}
	a.want(a.post(challenges(identity)+"/"+sid, url.Values{"AuthPayload": {wrongCode}}), 429, 60308)
}

func TestRuleKeepUnverifiedOnWrongCode(t *testing.T) {
	a, c := ruled(t, emulator.Rules{KeepUnverifiedOnWrongCode: true})
	sid := a.want(a.post(factors(identity), newTOTP()), 201, 0).text("sid")
	if r := a.want(a.post(factors(identity)+"/"+sid, url.Values{"AuthPayload": {wrongCode}}), 200, 0); r.text("status") != "unverified" {
		t.Errorf("%s", r.raw)
	}
	a.want(a.post(factors(identity)+"/"+sid, url.Values{"AuthPayload": {"1"}}), 400, 60306)
	code, err := device.TOTP(rfcSecret20, "sha1", 30*time.Second, 6, c.now())
	if err != nil {
		t.Fatal(err)
	}
	if r := a.want(a.post(factors(identity)+"/"+sid, url.Values{"AuthPayload": {code}}), 200, 0); r.text("status") != "verified" {
		t.Errorf("%s", r.raw)
	}
}

func TestRuleAcceptEmptyUpdate(t *testing.T) {
	for _, on := range []bool{false, true} {
		a, _ := ruled(t, emulator.Rules{AcceptEmptyUpdate: on})
		f, key := a.pushFactor()
		p := a.pushed(f.SID)
		if !on {
			a.want(a.post(p.path, url.Values{}), 400, 60306)
			continue
		}
		if r := a.want(a.post(p.path, url.Values{}), 200, 0); string(r.raw) != string(p.body) {
			t.Errorf("%s, was %s", r.raw, p.body)
		}
		a.want(a.answer(p, p.sign(t, key, "denied")), 200, 0)
		a.want(a.post(p.path, url.Values{}), 403, 60322)
	}
}

func TestRuleOpaquePageTokens(t *testing.T) {
	a, _ := ruled(t, emulator.Rules{OpaquePageTokens: true})
	f, _ := a.pushFactor()
	var want, got []string
	for range 5 {
		want = append(want, a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0).text("sid"))
	}
	for target := challenges(identity) + "?PageSize=2"; target != ""; {
		p := a.list(target)
		if strings.Contains(p.next, "PageToken=DN") || slices.ContainsFunc(want, func(sid string) bool { return strings.Contains(p.next, sid) }) {
			t.Errorf("next %s", p.next)
		}
		got, target = append(got, p.sids...), p.next
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	a.want(a.get(challenges(identity)+"?PageToken=DN"+want[0]), 400, 60306)
}

// The order under each rule, and that pages in it miss and repeat none.
func TestRulesOfOrder(t *testing.T) {
	for _, tc := range []struct {
		name  string
		rules emulator.Rules
		want  []int // by number of creation: 0 and 1 in one second, 2 a second later, then 0 is answered
	}{
		{"default", emulator.Rules{}, []int{0, 1, 2}},
		{"ties", emulator.Rules{ReverseTies: true}, []int{1, 0, 2}},
		{"update", emulator.Rules{OrderByUpdate: true}, []int{1, 2, 0}},
		{"update and ties", emulator.Rules{OrderByUpdate: true, ReverseTies: true}, []int{1, 2, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, c := ruled(t, tc.rules)
			f, key := a.pushFactor()
			p := []pushed{a.pushed(f.SID), a.pushed(f.SID)}
			c.move(time.Second)
			p = append(p, a.pushed(f.SID))
			c.move(time.Second)
			a.want(a.answer(p[0], p[0].sign(t, key, "approved")), 200, 0)
			var want []string
			for _, i := range tc.want {
				want = append(want, p[i].path[len(p[i].path)-34:])
			}
			for _, order := range []string{"asc", "desc"} {
				if order == "desc" {
					slices.Reverse(want)
				}
				var got []string
				for target := challenges(identity) + "?PageSize=1&Order=" + order; target != ""; {
					page := a.list(target)
					got, target = append(got, page.sids...), page.next
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: %v, want %v", order, got, want)
				}
			}
		})
	}
}

func TestRulesOfShownProperties(t *testing.T) {
	a, c := ruled(t, emulator.Rules{FillDateResponded: true, OtherRespondedReasons: true, OmitNulls: true})
	f, key := a.pushFactor()
	totp := a.totpFactor()
	code, err := device.TOTP(rfcSecret20, "sha1", 30*time.Second, 6, c.now())
	if err != nil {
		t.Fatal(err)
	}
	made := a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0)
	if made.text("date_responded") != made.text("date_created") || made.text("responded_reason") != "none" {
		t.Errorf("%s", made.raw)
	}
	for name, value := range made.body {
		if value == nil || name == "metadata" || name == "hidden_details" {
			t.Errorf("%s is there: %s", name, made.raw)
		}
	}
	r := a.want(a.post(challenges(identity), url.Values{"FactorSid": {totp.SID}, "AuthPayload": {code}}), 201, 0)
	if r.text("responded_reason") != "not_needed" || r.text("status") != "approved" {
		t.Errorf("%s", r.raw)
	}
	// What is not shown can't be signed, and is not asked for.
	path := challenges(identity) + "/" + made.text("sid")
	got := a.want(a.get(path), 200, 0)
	p := pushed{path: path, fields: strings.Split(got.header.Get("Twilio-Verify-Signature-Fields"), ","), body: got.raw}
	if slices.Contains(p.fields, "hidden_details") || !slices.Contains(p.fields, "sid") {
		t.Errorf("fields %q", p.fields)
	}
	c.move(time.Second)
	if r := a.want(a.answer(p, p.sign(t, key, "approved")), 200, 0); r.text("date_responded") == r.text("date_created") {
		t.Errorf("%s", r.raw)
	}
	late := a.pushed(f.SID)
	c.move(time.Hour)
	if r := a.want(a.get(late.path), 200, 0); r.text("responded_reason") != "not_requested" {
		t.Errorf("%s", r.raw)
	}
}

func TestRulesOfIdentities(t *testing.T) {
	const upper, lower = "USER-0001-ABCD", "user-0001-abcd"
	for _, tc := range []struct {
		name       string
		rules      emulator.Rules
		shown      string
		otherFinds bool
	}{
		{"default", emulator.Rules{}, upper, true},
		{"lower case", emulator.Rules{LowerCaseIdentity: true}, lower, true},
		{"case-sensitive", emulator.Rules{CaseSensitiveIdentity: true}, upper, false},
		{"both", emulator.Rules{LowerCaseIdentity: true, CaseSensitiveIdentity: true}, upper, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, _ := ruled(t, tc.rules)
			f, err := a.e.AddPushFactor(upper, &newKey(t).PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			r := a.want(a.post(challenges(upper), pushForm(f.SID)), 201, 0)
			if r.text("identity") != tc.shown || f.Identity != tc.shown || !strings.Contains(r.text("url"), tc.shown) {
				t.Errorf("%s", r.raw)
			}
			a.want(a.get(strings.TrimPrefix(r.text("url"), "http://emulator.test")), 200, 0)
			page := a.list(challenges(upper) + "?PageSize=1")
			if again := a.list(page.first); len(page.sids) != 1 || !slices.Equal(again.sids, page.sids) {
				t.Errorf("%+v, by its own URL %+v", page, again)
			}
			if r := a.get(challenges(lower)); (r.status == 200) != tc.otherFinds {
				t.Errorf("in lower case: %s", r.raw)
			}
		})
	}
}

func TestRuleSignAllFields(t *testing.T) {
	a, c := ruled(t, emulator.Rules{SignAllFields: true})
	f, key := a.pushFactor()
	p := a.pushed(f.SID)
	if len(p.fields) != 18 || !slices.Contains(p.fields, "status") || !slices.Contains(p.fields, "links") {
		t.Errorf("fields %q", p.fields)
	}
	c.move(time.Second)
	altered := edit(t, key, p, func(claims map[string]any) { claims["url"] = "x" })
	a.want(a.answer(p, altered), 403, 60324)
	if r := a.want(a.answer(p, p.sign(t, key, "denied")), 200, 0); r.text("status") != "denied" {
		t.Errorf("%s", r.raw)
	}
}

func TestRuleOmitCredentialSID(t *testing.T) {
	a, _ := ruled(t, emulator.Rules{OmitCredentialSID: true})
	form, _ := newPush(t)
	if r := a.want(a.post(factors(identity), form), 201, 0); strings.Contains(string(r.raw), "credential_sid") {
		t.Errorf("%s", r.raw)
	}
}

func TestRulesOfAnswers(t *testing.T) {
	throttle := func(r emulator.Rules) reply {
		a, _ := ruled(t, r)
		f, _ := a.pushFactor()
		if err := a.e.Script(emulator.OperationCreate, emulator.FaultThrottle); err != nil {
			t.Fatal(err)
		}
		return a.post(challenges(identity), pushForm(f.SID))
	}
	if r := throttle(emulator.Rules{}); r.code() != 20429 || r.header.Get("Retry-After") != "" {
		t.Errorf("default: %s %v", r.raw, r.header)
	}
	if r := throttle(emulator.Rules{Throttle25109: true}); r.status != 429 || r.code() != 25109 {
		t.Errorf("%s", r.raw)
	}
	if r := throttle(emulator.Rules{ThrottleAs400: true}); r.status != 400 || r.code() != 25109 {
		t.Errorf("%s", r.raw)
	}
	if r := throttle(emulator.Rules{RateLimitHeaders: true}); r.header.Get("Retry-After") != "1" || r.header.Get("Twilio-Reached-Rate-Limit") != "true" {
		t.Errorf("%v", r.header)
	}
	if r := throttle(emulator.Rules{OmitTwilioHeaders: true}); r.header.Get("Twilio-Request-Id")+r.header.Get("Twilio-Concurrent-Requests") != "" {
		t.Errorf("%v", r.header)
	}
	if r := throttle(emulator.Rules{ProblemErrors: true}); r.code() != 20429 || r.text("title") == "" || r.text("type") == "" ||
		r.text("detail") == "" || r.text("message") != "" || r.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s %v", r.raw, r.header)
	}
	a, _ := ruled(t, emulator.Rules{RateLimitHeaders: true})
	f, _ := a.pushFactor()
	r := a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0)
	if r.header.Get("Retry-After") == "" || r.header.Get("Twilio-Reached-Rate-Limit") != "false" {
		t.Errorf("%v", r.header)
	}
}

func TestRulesOfPasskeys(t *testing.T) {
	a, _ := ruled(t, emulator.Rules{PasskeysDisabled: true})
	a.want(a.postJSON(passkeys+"Challenges", `{}`), 500, 20500)
	a.want(a.postJSON(passkeys+"ApproveChallenge", `{}`), 500, 20500)
	asked := func(r emulator.Rules) (sid, challenge string) {
		a, _ := ruled(t, r)
		made := a.want(a.postJSON(passkeys+"Challenges", `{}`), 201, 0)
		key := made.body["options"].(map[string]any)["publicKey"].(map[string]any) //nolint:forcetypeassert // the test would fail
		return made.text("sid"), fmt.Sprint(key["challenge"])
	}
	if sid, challenge := asked(emulator.Rules{}); challenge != base64.RawURLEncoding.EncodeToString([]byte(sid)) {
		t.Errorf("%s asks %s", sid, challenge)
	}
	if sid, challenge := asked(emulator.Rules{RandomPasskeysChallenge: true}); challenge == base64.RawURLEncoding.EncodeToString([]byte(sid)) || len(challenge) != 43 {
		t.Errorf("%s asks %s", sid, challenge)
	}
}

func TestRuleFreeCodeAtCreate(t *testing.T) {
	for on, last := range map[bool]int{false: 429, true: 200} {
		a, c := ruled(t, emulator.Rules{FreeCodeAtCreate: on})
		f := a.totpFactor()
		path := challenges(identity) + "/" + a.want(a.post(challenges(identity), url.Values{"FactorSid": {f.SID}, "AuthPayload": {wrongCode}}), 201, 0).text("sid")
		for range 4 {
			a.want(a.post(path, url.Values{"AuthPayload": {wrongCode}}), 403, 60324)
		}
		code, err := device.TOTP(f.Secret, "sha1", 30*time.Second, 6, c.now())
		if err != nil {
			t.Fatal(err)
		}
		if r := a.post(path, url.Values{"AuthPayload": {code}}); r.status != last || last == 429 && r.code() != 60308 {
			t.Errorf("on %v: %s", on, r.raw)
		}
	}
}

func TestRuleMetadataAfterAnswer(t *testing.T) {
	for _, on := range []bool{false, true} {
		a, c := ruled(t, emulator.Rules{MetadataAfterAnswer: on})
		f, key := a.pushFactor()
		answered, late := a.pushed(f.SID), a.pushed(f.SID)
		before := a.want(a.answer(answered, answered.sign(t, key, "denied")), 200, 0)
		c.move(5 * time.Minute)
		set := url.Values{"Metadata": {`{"os":"x"}`}}
		if !on {
			a.want(a.post(answered.path, set), 403, 60322)
			a.want(a.post(late.path, set), 403, 60323)
			continue
		}
		r := a.want(a.post(answered.path, set), 200, 0)
		if r.text("status") != "denied" || r.text("date_responded") != before.text("date_responded") || !strings.Contains(string(r.raw), `"metadata":{"os":"x"}`) {
			t.Errorf("%s", r.raw)
		}
		if r := a.want(a.post(late.path, set), 200, 0); r.text("status") != "expired" {
			t.Errorf("%s", r.raw)
		}
		a.want(a.post(answered.path, url.Values{"AuthPayload": {"a.b.c"}, "Metadata": {`{}`}}), 403, 60322)
	}
}

func TestRuleMissingAs20001(t *testing.T) {
	a, _ := ruled(t, emulator.Rules{MissingAs20001: true})
	f, _ := a.pushFactor()
	if r := a.want(a.post(challenges(identity), url.Values{}), 400, 20001); r.text("message") != "Missing required parameter FactorSid in the post body" {
		t.Errorf("%s", r.raw)
	}
	a.want(a.post(challenges(identity), url.Values{"FactorSid": {f.SID}}), 400, 20001)
	a.want(a.post(challenges(identity), url.Values{"FactorSid": {""}}), 400, 60306)
	b, _ := ruled(t, emulator.Rules{MissingAs20001: true, MissingMessage60368: true})
	f, _ = b.pushFactor()
	b.want(b.post(challenges(identity), url.Values{"FactorSid": {f.SID}}), 400, 60368)
}

func TestRulePreviousOfFirst(t *testing.T) {
	a, _ := ruled(t, emulator.Rules{PreviousOfFirst: true})
	f, _ := a.pushFactor()
	for range 3 {
		a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0)
	}
	p := a.list(challenges(identity) + "?PageSize=2")
	if !p.prevSet || p.previous != p.url {
		t.Errorf("the first page: %+v", p)
	}
	if second := a.list(p.next); !second.prevSet || second.previous != p.url {
		t.Errorf("the second page: %+v", second)
	}
}

func TestRuleNoPlatformAs403(t *testing.T) {
	a, _ := ruled(t, emulator.Rules{NoPlatformAs403: true})
	f, _ := a.pushFactor() // its platform is none
	a.want(a.post(a.pushed(f.SID).path+"/Notifications", url.Values{}), 403, 60307)
	if a.e.Stats().Rules["no-platform-as-403"] != 1 {
		t.Errorf("decided %v", a.e.Stats().Rules)
	}
}

func TestRulePagesWithoutToken(t *testing.T) {
	a, _ := ruled(t, emulator.Rules{PagesWithoutToken: true})
	f, _ := a.pushFactor()
	other := a.totpFactor()
	var want, got []string
	for range 5 {
		want = append(want, a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0).text("sid"))
		a.want(a.post(challenges(identity), url.Values{"FactorSid": {other.SID}}), 201, 0)
	}
	numbers := 0
	for target := challenges(identity) + "?PageSize=2&FactorSid=" + f.SID; target != ""; numbers++ {
		p := a.list(target)
		if strings.Contains(p.next+p.previous+p.url, "PageToken") || p.page != numbers || p.prevSet != (numbers > 0) {
			t.Errorf("%+v", p)
		}
		got, target = append(got, p.sids...), p.next
	}
	if !slices.Equal(got, want) || numbers != 3 {
		t.Errorf("%v in %d pages, want %v", got, numbers, want)
	}
	b, _ := ruled(t, emulator.Rules{PagesWithoutToken: true, OpaquePageTokens: true})
	g, _ := b.pushFactor()
	for range 2 {
		b.want(b.post(challenges(identity), pushForm(g.SID)), 201, 0)
	}
	if p := b.list(challenges(identity) + "?PageSize=1"); !p.nextSet || strings.Contains(p.next, "PageToken") || b.e.Stats().Rules["opaque-page-tokens"] != 0 {
		t.Errorf("%+v", p)
	}
	if p := a.list(challenges(identity) + "?Page=9"); len(p.sids) != 0 || p.nextSet {
		t.Errorf("%+v", p)
	}
	if p := readPage(t, a.want(a.get(factors(identity)+"?PageSize=1&Page=1"), 200, 0), "factors"); !slices.Equal(p.sids, []string{other.SID}) || p.nextSet {
		t.Errorf("%+v", p)
	}
}

func TestRuleKeepDateUpdated(t *testing.T) {
	a, c := ruled(t, emulator.Rules{KeepDateUpdated: true})
	f, _ := a.pushFactor()
	p := a.pushed(f.SID)
	c.move(time.Minute)
	a.want(a.post(p.path, url.Values{"Metadata": {`{"os":"x"}`}}), 200, 0)
	c.move(time.Hour)
	if r := a.want(a.get(p.path), 200, 0); r.text("status") != "expired" || r.text("date_updated") != "2026-03-04T05:07:07Z" {
		t.Errorf("%s", r.raw)
	}
}

func TestRuleEntityExists60304(t *testing.T) {
	a, _ := ruled(t, emulator.Rules{EntityExists60304: true})
	create := func() reply { return a.post("/v2/Services/"+service+"/Entities", url.Values{"Identity": {identity}}) }
	a.want(create(), 201, 0)
	a.want(create(), 409, 60304)
}
