package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

// TestMainJob: all four operations and bad events through a connector in this
// process; every record is answered once and the API was called as often as
// the events ask for.
func TestMainJob(t *testing.T) {
	w := newWorld(t, emulator.Config{})
	m := w.run(w.config())
	for i := range 100 {
		w.send(w.create(i))
	}
	got := w.awaitAll()
	var sids []*schemas.Result
	for _, rs := range got.results {
		sids = append(sids, rs[0])
	}
	for i, made := range sids {
		var c struct {
			SID string `json:"sid"`
		}
		must(t, unmarshal(made.Challenge, &c))
		r := schemas.Request{ID: fmt.Sprintf("fetch-%d", i), Operation: schemas.OperationFetch, ServiceSID: made.ServiceSID, Identity: made.Identity, ChallengeSID: c.SID}
		w.send(r)
		if i%10 == 0 {
			r.ID, r.Operation = fmt.Sprintf("update-%d", i), schemas.OperationUpdate
			r.Update = &schemas.Update{AuthPayload: "not-a-signature", Metadata: map[string]string{"os": "test"}}
			w.send(r)
		}
	}
	for i := range 10 {
		f := w.factors[i]
		w.send(schemas.Request{ID: fmt.Sprintf("list-%d", i), Operation: schemas.OperationList, ServiceSID: f.ServiceSID, Identity: f.Identity, List: &schemas.List{PageSize: 2}})
	}
	before := w.api.Stats()
	w.sendRaw(
		kafka.Message{Topic: w.topics.Requests, Value: []byte("not json")},
		kafka.Message{Topic: w.topics.Requests, Key: []byte("k"), Value: []byte(`{"version":"1.0","id":"bad","operation":"create"}`)},
		kafka.Message{Topic: w.topics.Requests, Key: []byte("k"), Value: nil},
	)
	got = w.awaitAll()
	must(t, m.leave())
	w.auditsClean(t)
	if len(got.doubled) > 0 {
		t.Errorf("more than one answer for %v", got.doubled)
	}
	if got.outcomes[schemas.OutcomeSucceeded] != 100+100+10 {
		t.Errorf("outcomes %v, want 210 succeeded", got.outcomes)
	}
	if got.outcomes[schemas.OutcomeRejected] != 10+1 {
		t.Errorf("outcomes %v, want the ten forged updates and the bad event rejected", got.outcomes)
	}
	for c, ds := range got.deadLetters {
		for _, d := range ds {
			if d.Class != schemas.ClassNotJSON || d.HasResult {
				t.Errorf("dead letter of %s: %+v", c, d)
			}
		}
	}
	if len(got.deadLetters) != 2 {
		t.Errorf("%d dead letters, want 2", len(got.deadLetters))
	}
	if st := w.api.Stats(); st.Creates != 100 || st.Calls[emulator.OperationCreate] != 100 || before.Creates != 100 {
		t.Errorf("the API made %d challenges in %d calls for 100 creates", st.Creates, st.Calls[emulator.OperationCreate])
	}
	for _, rs := range got.results {
		if r := rs[0]; r.Operation == schemas.OperationList && len(r.Challenges) != 5 {
			t.Errorf("a list has %d challenges over all its pages, want 5", len(r.Challenges))
		}
	}
}

// TestFaultsLoseNothing: latency, throttling, 5xx and resets before and after
// the challenge was made. Creates that ended in doubt are looked up: what was
// made is adopted, what was not is called again. Every request has one challenge.
func TestFaultsLoseNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Config{Seed: 7, Faults: emulator.Faults{
		Latency:      emulator.Latency{Min: time.Millisecond, Max: 20 * time.Millisecond},
		ThrottleRate: 0.05, RetryAfter: time.Second,
		ServerErrorRate: 0.02, ServerErrorAfterRate: 0.02, ResetBeforeRate: 0.03, ResetAfterRate: 0.03,
	}})
	cfg := w.config()
	a := cfg.Accounts["main"]
	a.Breaker.Ratio = 1 // these faults are spread; the breaker has tests of its own
	a.Timeout = time.Second
	cfg.Accounts["main"] = a
	cfg.Recovery.Apart = 250 * time.Millisecond
	m := w.run(cfg)
	const n = 400
	for i := range n {
		w.send(w.create(i))
	}
	got := w.awaitAll()
	must(t, m.leave())
	w.auditsClean(t)
	if len(got.doubled) > 0 {
		t.Errorf("more than one answer for %v", got.doubled)
	}
	st := w.api.Stats()
	adopted, succeeded := got.outcomes[schemas.OutcomeAdopted], got.outcomes[schemas.OutcomeSucceeded]
	if adopted == 0 || adopted+succeeded != n || len(got.deadLetters) > 0 {
		t.Errorf("outcomes %v and %d dead letters: want %d succeeded or adopted, and some of these", got.outcomes, len(got.deadLetters), n)
	}
	if want := st.Faults[emulator.FaultResetAfter] + st.Faults[emulator.FaultServerErrorAfter]; int64(adopted) > want {
		t.Errorf("%d adopted, but only %d calls ended in doubt with their challenge made", adopted, want)
	}
	if st.Creates != n {
		t.Errorf("the API made %d challenges for %d requests", st.Creates, n)
	}
	// Lists are hit too, so the faults only bound how many calls there were.
	again := st.Faults[emulator.FaultThrottle] + st.Faults[emulator.FaultServerError] + st.Faults[emulator.FaultResetBefore]
	if calls := st.Calls[emulator.OperationCreate]; calls > n+again {
		t.Errorf("%d calls for %d creates of which at most %d were not carried out: something was called twice", calls, n, again)
	}
}

// TestOutage: with the API gone in the middle the breaker opens, intake
// pauses, nothing is dead-lettered for it, and everything is done afterwards.
func TestOutage(t *testing.T) {
	w := newWorld(t, emulator.Config{})
	m := w.run(w.config())
	for i := range 50 {
		w.send(w.create(i))
	}
	w.awaitAll()
	must(t, w.api.Outage(3*time.Second))
	for i := range 200 {
		w.send(w.create(50 + i))
	}
	w.await("the breaker to open", func() bool { return m.Status().Counters.BreakerOpens > 0 })
	got := w.awaitAll()
	must(t, m.leave())
	if got.outcomes[schemas.OutcomeSucceeded] != 250 || len(got.deadLetters) > 0 || len(got.doubled) > 0 {
		t.Errorf("outcomes %v, %d dead letters, doubled %v", got.outcomes, len(got.deadLetters), got.doubled)
	}
	if made := w.api.Stats().Creates; made != 250 {
		t.Errorf("the API made %d challenges for 250 requests", made)
	}
}
