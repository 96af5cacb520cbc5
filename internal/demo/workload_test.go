package demo

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/schemas"
)

func TestAllocate(t *testing.T) {
	cases := []struct {
		name    string
		n       int
		weights []int
		want    []int
	}{
		{"nothing", 0, []int{3, 1}, []int{0, 0}},
		{"too few for all", 2, []int{1, 1, 9}, []int{1, 1, 0}},
		{"one each", 3, []int{9, 1, 1}, []int{1, 1, 1}},
		{"by weight", 12, []int{3, 1}, []int{9, 3}},
		{"largest remainder first", 5, []int{1, 1, 1}, []int{2, 2, 1}},
		{"no weights", 5, []int{0, 0}, []int{1, 1}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := allocate(c.n, c.weights); !slices.Equal(got, c.want) {
				t.Errorf("allocate(%d, %v) = %v, want %v", c.n, c.weights, got, c.want)
			}
		})
	}
}

// TestPlanProperties: whatever the seed and the size, a stream has the size that
// was asked for, and nothing in it is about what does not exist yet.
func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		n := rapid.IntRange(1, 400).Draw(t, "n")
		people := rapid.IntRange(1, 50).Draw(t, "people")
		steps := plan(seed, n, people)
		if len(steps) != n {
			t.Fatalf("%d steps, want %d", len(steps), n)
		}
		answered := map[int]bool{}
		wrong := map[int]int{}
		for i, s := range steps {
			if s.index != i || s.person < 0 || s.person >= people {
				t.Fatalf("step %d: %+v", i, s)
			}
			if (s.kind.spec().of != baseNone) != (s.of >= 0) {
				t.Fatalf("step %d of kind %s is about step %d", i, s.kind, s.of)
			}
			if s.alone() {
				continue
			}
			base := steps[s.of]
			if s.of >= i || base.person != s.person || s.burst != 0 {
				t.Fatalf("step %d: %+v is about %+v", i, s, base)
			}
			if !slices.Contains(base.kind.spec().makes, s.kind.spec().of) {
				t.Fatalf("step %d: a %s is about a %s", i, s.kind, base.kind)
			}
			if s.kind == kindMetadata || s.kind == kindAnswerWrong || s.kind == kindAnswer {
				if answered[s.of] {
					t.Fatalf("step %d: a %s of a challenge that is answered by then", i, s.kind)
				}
			}
			if s.kind == kindAnswerWrong {
				if wrong[s.of]++; wrong[s.of] > 4 {
					t.Fatalf("step %d: the fifth wrong code for one challenge", i)
				}
			}
			answered[s.of] = answered[s.of] || s.kind == kindAnswer
		}
	})
}

func TestPlanIsReproducible(t *testing.T) {
	a, b, other := plan(7, 200, 36), plan(7, 200, 36), plan(8, 200, 36)
	if !reflect.DeepEqual(a, b) {
		t.Error("the same seed gives another stream")
	}
	if reflect.DeepEqual(a, other) {
		t.Error("another seed gives the same stream")
	}
	f := testFacts()
	for _, s := range a {
		one, err1 := write(7, s, f)
		two, err2 := write(7, s, f)
		if err1 != nil || err2 != nil || string(one) != string(two) {
			t.Fatalf("step %d (%s): %v %v\n%s\n%s", s.index, s.kind, err1, err2, one, two)
		}
	}
}

// TestDefaultPlanHasEverything: the stream of the default size shows every kind,
// every mistake and several records of one key in a row.
func TestDefaultPlanHasEverything(t *testing.T) {
	seen := map[kind]int{}
	bursts := map[int]int{}
	for _, s := range plan(1, DefaultRequests, DefaultPeople) {
		seen[s.kind]++
		bursts[s.burst]++
	}
	for _, k := range kinds() {
		if seen[k.kind] == 0 {
			t.Errorf("no %s", k.kind)
		}
	}
	if seen[kindInvalid] < len(mistakes()) {
		t.Errorf("%d invalid events for %d mistakes", seen[kindInvalid], len(mistakes()))
	}
	if len(bursts) < 4 {
		t.Errorf("only %d bursts", len(bursts)-1)
	}
}

func testFacts() facts {
	return facts{
		service: "VA" + strings.Repeat("1", 32), identity: "customer-0001-abcdef",
		push: "YF" + strings.Repeat("2", 32), totp: "YF" + strings.Repeat("3", 32),
		sid: "YC" + strings.Repeat("4", 32), code: "123456",
		now: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC),
	}
}

// TestGoodKindsKeepTheContract: everything but the kinds that are bad on purpose
// decodes without a fault, in every form.
func TestGoodKindsKeepTheContract(t *testing.T) {
	bad := []kind{kindInvalid, kindNotJSON, kindNoID, kindVersion}
	f := testFacts()
	for _, spec := range kinds() {
		if slices.Contains(bad, spec.kind) {
			continue
		}
		for form := range 7 {
			s := step{index: 3, kind: spec.kind, variant: form}
			data, err := write(1, s, f)
			if err != nil {
				t.Fatalf("%s/%d: %v", spec.kind, form, err)
			}
			r, warnings, err := schemas.DecodeRequest(data)
			if err != nil {
				t.Fatalf("%s/%d: %v\n%s", spec.kind, form, err, data)
			}
			if faults := r.Check(f.now); len(faults) > 0 {
				t.Errorf("%s/%d: %v", spec.kind, form, faults)
			}
			if (len(warnings) > 0) != (spec.kind == kindUnknownField) {
				t.Errorf("%s/%d: warnings %v", spec.kind, form, warnings)
			}
			if r.ID != requestID(1, 3) {
				t.Errorf("%s/%d: id %q", spec.kind, form, r.ID)
			}
			if late := r.NotAfter != nil && r.NotAfter.Before(f.now); late != (spec.kind == kindLate) {
				t.Errorf("%s/%d: late is %v", spec.kind, form, late)
			}
		}
	}
}

// TestEveryMistakeIsNamed: each mistake is found, at its path, by the event
// alone or by its record's timestamp.
func TestEveryMistakeIsNamed(t *testing.T) {
	f := testFacts()
	for form, m := range mistakes() {
		data, err := write(1, step{index: 9, kind: kindInvalid, variant: form}, f)
		if err != nil {
			t.Fatalf("%s: %v", m.path, err)
		}
		r, _, err := schemas.DecodeRequest(data)
		var faults []schemas.Fault
		var refused *schemas.DecodeError
		switch {
		case errors.As(err, &refused):
			faults = refused.Faults
			if refused.Code != schemas.CodeInvalid || refused.ID != requestID(1, 9) {
				t.Errorf("%s: %s, id %q", m.path, refused.Code, refused.ID)
			}
		case m.path == "$.account": // only the configuration can tell
			continue
		default:
			faults = r.Check(f.now)
		}
		if !slices.ContainsFunc(faults, func(x schemas.Fault) bool { return x.Path == m.path }) {
			t.Errorf("%s: not among the faults %v of %s", m.path, faults, data)
		}
		if want := form == len(mistakes())-1; len(faults) > 1 != want {
			t.Errorf("%s: %d faults: %v", m.path, len(faults), faults)
		}
	}
}

func TestHopelessEvents(t *testing.T) {
	want := map[kind]schemas.ErrorCode{
		kindNotJSON: schemas.CodeNotJSON, kindNoID: schemas.CodeNoID, kindVersion: schemas.CodeVersion,
	}
	for k, code := range want {
		for form := range 6 {
			data, err := write(1, step{kind: k, variant: form}, testFacts())
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = schemas.DecodeRequest(data)
			var refused *schemas.DecodeError
			if !errors.As(err, &refused) || refused.Code != code {
				t.Errorf("%s/%d: %v", k, form, err)
			}
		}
	}
}

func TestWrongCode(t *testing.T) {
	if got := wrongCode("019"); got != "120" {
		t.Errorf("wrongCode(019) = %s", got)
	}
}
