package audit

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/schemas"
)

// kept is a report as it comes back from a file.
func keptReport(t *testing.T, r *Report) *Report {
	t.Helper()
	data, err := json.Marshal(r)
	must(t, err)
	var out Report
	must(t, json.Unmarshal(data, &out))
	return &out
}

func (w *world) verify(r *Report) []Difference {
	w.t.Helper()
	out, err := Verify(w.t.Context(), w.client, keptReport(w.t, r), Config{})
	must(w.t, err)
	return out
}

// A report verifies as long as its records are there, whatever is written since.
func TestVerify(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var all []ask
		for i := range 8 {
			a := w.ask(i%2, fmt.Sprintf("r%d", i))
			if i != 5 {
				w.answer(i%3, a)
			}
			all = append(all, a)
		}
		w.worked()
		windows := map[string]Config{"everything": config(), "times": config(), "offsets": config()}
		byTime := windows["times"]
		byTime.From, byTime.To = all[1].at.Timestamp, all[7].at.Timestamp
		windows["times"] = byTime
		byOffset := windows["offsets"]
		byOffset.Offsets = []OffsetSpan{{1, 1, 3}}
		windows["offsets"] = byOffset
		reports := map[string]*Report{}
		for name, cfg := range windows {
			reports[name] = w.audit(cfg)
		}
		for i := range 4 {
			a := w.ask(i%2, fmt.Sprintf("s%d", i))
			w.answer(i%3, a, failed)
			w.bury(a, true)
			w.write(topics.Results, 1, w.tick(), "", []byte("garbage"))
		}
		for name, r := range reports {
			if d := w.verify(r); len(d) > 0 {
				t.Errorf("%s: %+v", name, d)
			}
		}
		w.answer(2, all[3])
		for name, r := range reports {
			if d := w.verify(r); len(d) == 0 && name != "everything" { // that one ends where the topics ended
				t.Errorf("%s: a further answer goes unnoticed", name)
			}
		}
	})
}

// What is said of the records is compared, too.
func TestVerifyFindings(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ask(0, "lost")
		w.answer(1, w.ask(0, "good"))
		w.worked()
		r := w.audit(config())
		for name, alter := range map[string]func(r *Report){
			"a finding":    func(r *Report) { r.Findings = r.Findings[1:] },
			"the left out": func(r *Report) { r.Counts.FindingsLeftOut++ },
			"a number":     func(r *Report) { r.Counts.Challenges++ },
			"the root":     func(r *Report) { r.Covered.Root[0]++ },
			"a block":      func(r *Report) { r.Covered.Trees[0].Blocks[0].Hash[0]++ },
			"the method":   func(r *Report) { r.Covered.Algorithm = "none" },
			"the identity": func(r *Report) { r.Findings[0].Request.Identity = "x" },
		} {
			altered := keptReport(t, r)
			alter(altered)
			if d, err := Verify(t.Context(), w.client, altered, Config{}); len(d) == 0 && CodeOf(err) != CodeInvalid {
				t.Errorf("%s: %v, %v", name, d, err)
			}
		}
		if d, err := Verify(t.Context(), w.client, keptReport(t, r), Config{Tool: "another"}); len(d) > 0 || err != nil {
			t.Errorf("another release: %v, %v", d, err)
		}
		if d, err := Verify(t.Context(), w.client, keptReport(t, r), Config{IdentityKey: "another"}); CodeOf(err) != CodeInvalid {
			t.Errorf("another key: %v, %v", d, err)
		}
		foreign := keptReport(t, r)
		foreign.Window.IdentityKey = "0badc0de"
		if d, err := Verify(t.Context(), w.client, foreign, Config{}); len(d) > 0 || err != nil {
			t.Errorf("no key for identities that have one: %v, %v", d, err)
		}
		compared := keptReport(t, r)
		compared.API, compared.Counts.FindingsLeftOut = &API{}, 7
		if d := w.verify(compared); len(d) > 0 {
			t.Errorf("left out beside the comparison with the API: %v", d)
		}
	})
}

// Altering, removing or adding any one record of the window is found, and where it
// is.
func TestTampering(t *testing.T) {
	const requests = 9
	type tampering struct {
		topic string
		n     int // the record of the topic
		what  string
	}
	var all []tampering
	for _, what := range []string{"value", "key", "timestamp", "header", "removed"} {
		for n := range requests {
			all = append(all, tampering{topics.Requests, n, what})
		}
		for n := range requests - 2 {
			all = append(all, tampering{topics.Results, n, what})
		}
		for n := range 4 {
			all = append(all, tampering{topics.DeadLetters, n, what})
		}
	}
	inBubble(t, func(t *testing.T, w *world) {
		fill(w, nil)
		r := w.audit(config())
		if n := len(all); n != 100 || !r.Clean() {
			t.Fatalf("%d tamperings of %v", n, shown(r))
		}
		if d := w.verify(r); len(d) > 0 {
			t.Fatal(d)
		}
		for _, one := range all {
			w.renew()
			seen := map[string]int{}
			fill(w, func(topic string, value []byte) ([]byte, string, time.Duration, []schemas.Header, bool) {
				n := seen[topic]
				seen[topic]++
				if topic != one.topic || n != one.n {
					return value, "", 0, nil, true
				}
				return altered(one.what, value)
			})
			found := w.verify(r)
			if !slices.ContainsFunc(found, func(d Difference) bool { return d.Topic == one.topic }) {
				t.Errorf("%+v: %+v", one, found)
			}
		}
	})
}

// tamper says what to write of a record: its value, a key, how much later, more
// headers, and whether to write it at all.
type tamper func(topic string, value []byte) ([]byte, string, time.Duration, []schemas.Header, bool)

// altered is what a tamper makes of a record: its value, key, timestamp or headers are
// another one, or it is removed.
func altered(what string, value []byte) ([]byte, string, time.Duration, []schemas.Header, bool) {
	switch what {
	case "value":
		return append(value, ' '), "", 0, nil, true
	case "key":
		return value, "k", 0, nil, true
	case "timestamp":
		return value, "", time.Millisecond, nil, true
	case "header":
		return value, "", 0, []schemas.Header{{Key: "h"}}, true
	default:
		return nil, "", 0, nil, false
	}
}

// fill writes the same records each time, only tampered with.
func fill(w *world, with tamper) {
	w.t.Helper()
	w.tamper = with
	defer func() { w.tamper = nil }()
	for i := range 9 {
		a := ask{req: schemas.Request{ID: fmt.Sprintf("r%d", i), Operation: schemas.OperationCreate, ServiceSID: service, Identity: identity, Create: &schemas.Create{FactorSID: factor}}}
		a.at = schemas.Coordinates{Topic: topics.Requests, Partition: i % 2, Offset: int64(i / 2), Timestamp: epoch.Add(time.Duration(i) * time.Second)}
		var err error
		a.value, err = a.req.Encode()
		must(w.t, err)
		if i > 6 {
			a.value, a.req.ID = []byte("{"), ""
		}
		w.write(topics.Requests, a.at.Partition, a.at.Timestamp, "", a.value)
		switch {
		case i > 6:
			w.bury(a, false)
		case i > 4:
			w.answer(i%3, a, failed)
			w.bury(a, true)
		default:
			w.sids = i
			w.answer(i%3, a)
		}
	}
	w.work(0, 5)
	w.work(1, 4)
}

// renew deletes the topics and makes them anew.
func (w *world) renew() {
	w.t.Helper()
	for topic, partitions := range map[string]int32{topics.Requests: 2, topics.Results: 3, topics.DeadLetters: 1} {
		req := kmsg.NewPtrDeleteTopicsRequest()
		one := kmsg.NewDeleteTopicsRequestTopic()
		one.Topic = &topic
		req.Topics = append(req.Topics, one)
		_, err := req.RequestWith(w.t.Context(), w.foreign)
		must(w.t, err)
		must(w.t, w.cluster.CreateTopic(topic, partitions, nil))
	}
	w.next = map[string]map[int]int64{}
}
