package integration

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/connector/redrive"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

// redriving is a configuration whose topics are the world's, and two more.
func (w *world) redriving() redrive.Config {
	w.t.Helper()
	cfg := redrive.Config{
		Topics: redrive.Topics{DeadLetters: w.topics.DeadLetters, Requests: w.topics.Requests, Parking: w.group + ".parked", Journal: w.group + ".redrives"},
		Group:  w.group + "-redrive", NotAfter: 5 * time.Minute, ParkAfter: 2,
	}
	w.t.Cleanup(func() { w.discard(w.t, cfg.Topics.Parking, cfg.Topics.Journal) })
	return cfg
}

// impatient is a configuration with which a throttled request soon fails.
func (w *world) impatient() connector.Config {
	cfg := w.config()
	a := cfg.Accounts["main"]
	a.Breaker.Failures, a.Breaker.Ratio = 1, 1
	a.Timeout = 2 * time.Second
	cfg.Accounts["main"] = a
	cfg.Recovery.Apart = 250 * time.Millisecond
	cfg.Retry = connector.RetryConfig{Attempts: 2, Base: time.Millisecond, Cap: 10 * time.Millisecond}
	return cfg
}

// refuseAll makes every create end as throttled at once.
func (w *world) refuseAll(yes bool) {
	w.t.Helper()
	f := emulator.Faults{Operations: []emulator.Operation{emulator.OperationCreate}}
	if yes {
		f.ThrottleRate = 1
	}
	must(w.t, w.api.SetFaults(f))
}

// refused runs a connector and sends creates that the API refuses for now.
func (w *world) refused(n int) *member {
	w.t.Helper()
	m := w.run(w.impatient())
	w.await("the lanes to work", func() bool { return len(m.Status().Lanes) == partitions })
	w.refuseAll(true)
	for i := range n {
		w.send(w.create(i))
	}
	return m
}

// TestRedrive: what failed for its time is made requests again, once however
// often it is redriven, and has its challenge then. What cannot get better is
// left, what fails again and again is parked. The command does the same and
// says so without writing in a dry run.
func TestRedrive(t *testing.T) {
	t.Parallel()
	const n = 25
	w := newWorld(t, emulator.Config{})
	m := w.refused(n)
	w.sendRaw(kafka.Message{Topic: w.topics.Requests, Key: []byte("k"), Value: []byte("not json")})
	got := w.awaitAll()
	if got.outcomes[schemas.OutcomeFailed] != n || len(got.deadLetters) != n+1 {
		t.Fatalf("outcomes %v, %d dead letters; want %d failed and one more dead letter", got.outcomes, len(got.deadLetters), n)
	}
	drive := w.redriving()
	dry := w.redriveCommand(drive, "--dry-run", "--class", string(schemas.ClassThrottled))
	if dry.Requests() != n || dry.Calls.Creates != n || w.count().requests != n+1 {
		t.Errorf("the dry run tells of %d requests and %d creates, of %d", dry.Requests(), dry.Calls.Creates, n)
	}
	// Still too busy: the same requests fail again.
	run, err := redrive.Run(t.Context(), w.kafka, drive)
	must(t, err)
	if run.Requests() != n || run.Refused[redrive.ReasonNotRedrivable] != 1 {
		t.Errorf("the first run: %+v", run)
	}
	w.sent += n
	w.awaitAll()
	w.refuseAll(false)
	if again := w.redriveCommand(drive); again.Requests() != n || again.Already != n {
		t.Errorf("the second run: %+v", again)
	}
	w.sent += n
	got = w.awaitAll()
	if again := w.redriveCommand(drive); again.Requests() != 0 || again.Already != 2*n {
		t.Errorf("the third run: %+v", again)
	}
	must(t, m.leave())
	w.auditsClean(t)
	if got.outcomes[schemas.OutcomeSucceeded] != n || got.outcomes[schemas.OutcomeFailed] != 2*n || len(got.doubled) > 0 {
		t.Errorf("outcomes %v, doubled %v, want each to fail twice and then to succeed", got.outcomes, got.doubled)
	}
	if made := w.api.Stats().Creates; made != n {
		t.Errorf("%d challenges for %d requests", made, n)
	}
}

// TestRedriveParks: what was redriven as often as allowed goes to the parking
// topic, its record and headers whole.
func TestRedriveParks(t *testing.T) {
	t.Parallel()
	const n = 5
	w := newWorld(t, emulator.Config{})
	m := w.refused(n)
	drive := w.redriving()
	for range drive.ParkAfter {
		w.awaitAll()
		w.redriveCommand(drive)
		w.sent += n
	}
	w.awaitAll()
	last := w.redriveCommand(drive)
	must(t, m.leave())
	if last.Requests() != 0 || last.Parked != n {
		t.Errorf("the last run: %+v, want %d parked", last, n)
	}
	parked := map[string]bool{}
	for _, r := range w.readCommitted(drive.Topics.Parking, n) {
		var own []schemas.Header
		for _, h := range r.Headers {
			own = append(own, schemas.Header{Key: h.Key, Value: h.Value})
		}
		d, _, err := schemas.DecodeDeadLetter(own)
		must(t, err)
		req, _, err := schemas.DecodeRequest(r.Value)
		must(t, err)
		if d.Redrives != drive.ParkAfter || d.Class != schemas.ClassThrottled || d.RequestID != req.ID || string(r.Key) != req.Identity {
			t.Errorf("parked %q: %+v", r.Key, d)
		}
		parked[req.ID] = true
	}
	if len(parked) != n {
		t.Errorf("parked %v", parked)
	}
	if made := w.api.Stats().Creates; made != 0 {
		t.Errorf("%d challenges", made)
	}
}

// redriveCommand runs the command and returns its report.
func (w *world) redriveCommand(cfg redrive.Config, args ...string) (out redrive.Report) {
	w.t.Helper()
	bin, err := binary()
	must(w.t, err)
	cmd := exec.CommandContext(w.t.Context(), bin, append([]string{
		"redrive", "--json", "--rate", "0", "--brokers", strings.Join(w.addrs, ","), "--group", cfg.Group, "--park-after", "2",
		"--dead-letters-topic", cfg.Topics.DeadLetters, "--requests-topic", cfg.Topics.Requests,
		"--parking-topic", cfg.Topics.Parking, "--journal-topic", cfg.Topics.Journal,
	}, args...)...)
	var said strings.Builder
	cmd.Stderr = &said
	text, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("redrive: %v\n%s", err, said.String())
	}
	must(w.t, json.Unmarshal(text, &out))
	return out
}
