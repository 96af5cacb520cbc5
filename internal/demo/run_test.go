package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/plugin"
	"github.com/countersign/countersign/schemas"
)

// testOptions are those of a small and fast run with the real plugin.
func testOptions(t *testing.T) Options {
	t.Helper()
	return Options{
		Requests: 60, Rate: 150, People: 12, Seed: 3, BreakerOpen: 200 * time.Millisecond, Deadline: time.Minute,
		Plugin: testPlugin(t, modeReal),
	}
}

// run runs the demo and checks what holds for every run with a real plugin.
func run(t *testing.T, o Options) *Summary {
	t.Helper()
	sum, err := Run(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%+v", err, sum)
	}
	if sum.Lost != 0 || sum.Duplicates != 0 || len(sum.Problems()) > 0 {
		t.Errorf("problems %q in %+v", sum.Problems(), sum)
	}
	if sum.Requests != o.Requests {
		t.Errorf("%d requests, want %d", sum.Requests, o.Requests)
	}
	if sum.PluginPID <= 0 || sum.PluginPID == sum.PID {
		t.Errorf("host %d and plugin %d must be two processes", sum.PID, sum.PluginPID)
	}
	gone(t, sum.PluginPID)
	return sum
}

// gone checks that a process has ended and was waited for.
func gone(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH { //nolint:errorlint // kill returns a bare errno
		t.Errorf("process %d is still there: %v", pid, err)
	}
}

// books are what a test reads in the topics and at the API for itself.
type books struct {
	requests map[spot]kafka.Record
	results  []*schemas.Result
	letters  []*schemas.DeadLetter
	calls    int
	faults   int64
}

func readBooks(t *testing.T, into *books) func(context.Context, *world) {
	t.Helper()
	return func(ctx context.Context, w *world) {
		into.requests, into.calls = map[spot]kafka.Record{}, w.apiCalls()
		for _, n := range w.api.Stats().Faults {
			into.faults += n
		}
		err := each(ctx, w.kafka, demoTopics.requests, func(r kafka.Record) { into.requests[spot{r.Partition, r.Offset}] = r })
		if err != nil {
			t.Error(err)
		}
		err = each(ctx, w.kafka, demoTopics.results, func(rec kafka.Record) {
			r, _, err := schemas.DecodeResult(rec.Value)
			if err != nil {
				t.Errorf("%v\n%s", err, rec.Value)
				return
			}
			into.results = append(into.results, r)
		})
		if err != nil {
			t.Error(err)
		}
		err = each(ctx, w.kafka, demoTopics.letters, func(rec kafka.Record) {
			d, _, err := schemas.DecodeDeadLetter(rec.Headers)
			if err != nil {
				t.Error(err)
				return
			}
			into.letters = append(into.letters, d)
			if was := into.requests[spot{d.Partition, d.Offset}]; !bytes.Equal(rec.Value, was.Value) || !bytes.Equal(rec.Key, was.Key) {
				t.Errorf("the dead letter of %d@%d is not the record that it was", d.Partition, d.Offset)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// fate is how a kind ends where the API has no faults.
type fate struct {
	outcome schemas.Outcome
	class   schemas.Class
	letter  bool
}

func fates() map[kind]fate {
	good := fate{outcome: schemas.OutcomeSucceeded}
	refused := fate{outcome: schemas.OutcomeRejected, class: schemas.ClassRejected}
	return map[kind]fate{
		kindPush: good, kindCodeRight: good, kindCodeWrong: good, kindOpen: good, kindFetch: good, kindList: good,
		kindAnswer: good, kindMetadata: good, kindUnknownField: good,
		kindAnswerWrong: refused, kindAnswered: refused, kindNoFactor: refused, kindNoChallenge: refused,
		kindNoMessage: refused, kindNobody: refused,
		kindInvalid: {outcome: schemas.OutcomeRejected, class: schemas.ClassInvalid},
		kindLate:    {outcome: schemas.OutcomeExpired, class: schemas.ClassExpired},
		kindVersion: {outcome: schemas.OutcomeFailed, class: schemas.ClassVersion, letter: true},
		kindNotJSON: {class: schemas.ClassNotJSON, letter: true},
		kindNoID:    {class: schemas.ClassNoID, letter: true},
	}
}

// callsOf is how many calls a result was worth, by what stands in it: none for
// what was refused or late before any call, one for each page of a list, else
// one.
func callsOf(t *testing.T, r *schemas.Result, request kafka.Record) int {
	t.Helper()
	if r.Error != nil && r.Error.Class != schemas.ClassRejected {
		return 0
	}
	req, _, err := schemas.DecodeRequest(request.Value)
	if err != nil {
		t.Errorf("a request that was called does not decode: %v", err)
		return 0
	}
	if req.List == nil || req.List.PageSize == 0 || req.List.Page != nil || len(r.Challenges) == 0 {
		return 1
	}
	return (len(r.Challenges) + req.List.PageSize - 1) / req.List.PageSize
}

// TestRunWithoutFaults: every request ends as its kind says, every kind of
// outcome occurs, and what is bad or late costs no call.
func TestRunWithoutFaults(t *testing.T) {
	t.Parallel()
	var b books
	o := testOptions(t)
	o.Requests = 110 // enough for every kind several times
	o.inspect = readBooks(t, &b)
	sum := run(t, o)
	steps := map[string]step{}
	letters := 0
	for _, s := range plan(o.Seed, o.Requests, o.People) {
		steps[requestID(o.Seed, s.index)] = s
		if fates()[s.kind].letter {
			letters++
		}
	}
	calls := 0
	for _, r := range b.results {
		calls += callsOf(t, r, b.requests[spot{r.Request.Partition, r.Request.Offset}])
		want := fates()[steps[r.RequestID].kind]
		var class schemas.Class
		if r.Error != nil {
			class = r.Error.Class
		}
		if class == schemas.ClassAccount {
			class = schemas.ClassInvalid // the mistake that only the configuration can find
		}
		if r.Outcome != want.outcome || class != want.class {
			t.Errorf("%s (%s): %s %s, want %s %s: %+v", r.RequestID, steps[r.RequestID].kind, r.Outcome, class, want.outcome, want.class, r.Error)
		}
		if class == schemas.ClassInvalid && (len(r.Error.Faults) == 0 || r.Error.Faults[0].Path == "") {
			t.Errorf("%s: the fields at fault are not named", r.RequestID)
		}
	}
	if sum.Calls != calls || b.calls != calls {
		t.Errorf("the API has seen %d calls, the results are worth %d", sum.Calls, calls)
	}
	if len(b.letters) != letters || sum.DeadLetters != letters {
		t.Errorf("%d dead letters, want %d", sum.DeadLetters, letters)
	}
	for _, outcome := range []string{"succeeded", "rejected", "expired", "failed"} {
		if sum.Outcomes[outcome] == 0 {
			t.Errorf("nothing is %s", outcome)
		}
	}
	if sum.Creates != sum.CreateResults || sum.Creates == 0 || sum.AmbiguousCreates != 0 {
		t.Errorf("%d creates at the API, %d in results, %d ambiguous", sum.Creates, sum.CreateResults, sum.AmbiguousCreates)
	}
	if sum.Approved == 0 || sum.Denied == 0 || sum.P50 <= 0 || sum.P99 < sum.P50 {
		t.Errorf("phones or latency are missing: %+v", sum)
	}
}

// TestRunWithFaults: whatever the API does to calls, nothing is lost, answered
// twice or created twice.
func TestRunWithFaults(t *testing.T) {
	t.Parallel()
	var b books
	o := testOptions(t)
	o.Requests, o.Faults = 80, true
	o.inspect = readBooks(t, &b)
	sum := run(t, o)
	if b.faults == 0 {
		t.Error("no fault has struck: the run proves nothing")
	}
	if sum.CreateResults > sum.Creates || sum.Creates > sum.CreateResults+sum.AmbiguousCreates {
		t.Errorf("%d creates at the API, %d in results, %d ambiguous", sum.Creates, sum.CreateResults, sum.AmbiguousCreates)
	}
	for _, d := range b.letters {
		if d.Class == schemas.ClassAmbiguous && !d.HasResult {
			t.Errorf("an ambiguous request has a dead letter and no result: %+v", d)
		}
	}
}

// TestRunWithOutage: the breaker opens, nothing is given up for it, and all is
// done afterwards.
func TestRunWithOutage(t *testing.T) {
	t.Parallel()
	var out safeBuffer
	o := testOptions(t)
	o.Outage, o.Out = 3*time.Second, &out
	sum := run(t, o)
	letters := 0
	for _, s := range plan(o.Seed, o.Requests, o.People) {
		if fates()[s.kind].letter {
			letters++
		}
	}
	if sum.DeadLetters != letters {
		t.Errorf("%d dead letters, want %d: %v", sum.DeadLetters, letters, sum.Classes)
	}
	if sum.BreakerOpens == 0 || sum.Retries == 0 || sum.Breaker != "closed" {
		t.Errorf("breaker %s, opened %d times, %d retries", sum.Breaker, sum.BreakerOpens, sum.Retries)
	}
	if !strings.Contains(out.String(), "the API goes away for 3s") {
		t.Errorf("the progress does not tell:\n%s", out.String())
	}
}

// safeBuffer is an output that can be read meanwhile, and tells who waits for a
// text when it comes.
type safeBuffer struct {
	mu    sync.Mutex
	text  bytes.Buffer
	await string
	found func()
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Write(p)
	if b.await != "" && strings.Contains(b.text.String(), b.await) {
		b.await = ""
		b.found()
	}
	return len(p), nil
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// TestInterrupt: an interrupt in the middle of an outage drains, counts, and
// tells what is unfinished from what is lost.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	o := testOptions(t)
	o.Outage, o.Out = time.Minute, &safeBuffer{await: "the API goes away", found: interrupt}
	sum, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if !sum.Interrupted || sum.Requests >= o.Requests || sum.Requests < o.Requests/2 {
		t.Errorf("interrupted %v, %d of %d requests", sum.Interrupted, sum.Requests, o.Requests)
	}
	if len(sum.Problems()) > 0 {
		t.Errorf("problems %q", sum.Problems())
	}
	gone(t, sum.PluginPID)
}

// TestAbort: giving up kills the plugin and says so.
func TestAbort(t *testing.T) {
	t.Parallel()
	abort := make(chan struct{})
	o := testOptions(t)
	o.Outage, o.Abort = time.Minute, abort
	o.Out = &safeBuffer{await: "the API goes away", found: func() { close(abort) }}
	sum, err := Run(t.Context(), o)
	if err == nil || plugin.CodeOf(err) == "" || sum == nil {
		t.Fatalf("%+v, %v", sum, err)
	}
	gone(t, sum.PluginPID)
}

// TestInterruptAtTheStart: nothing has been sent, so there is nothing to count.
func TestInterruptAtTheStart(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	if sum, err := Run(ctx, testOptions(t)); err == nil || sum != nil {
		t.Errorf("%+v, %v", sum, err)
	}
}

// TestDeadline: a plugin that answers nothing loses everything, and the
// counter says so.
func TestDeadline(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.Plugin = testPlugin(t, modeIdle)
	o.Requests, o.Rate, o.Deadline = 8, 1000, 700*time.Millisecond
	sum, err := Run(t.Context(), o)
	if sum == nil {
		t.Fatal(err)
	}
	if sum.Lost == 0 || sum.Lost != sum.Requests || sum.Results != 0 || len(sum.Problems()) != 1 {
		t.Errorf("%+v", sum)
	}
	gone(t, sum.PluginPID)
}

// TestBrokenPlugins: a plugin that cannot work ends the demo at once.
func TestBrokenPlugins(t *testing.T) {
	t.Parallel()
	want := map[string]plugin.Code{
		modeMute: plugin.CodeHandshake, modePicky: plugin.CodeConfig, modeFailed: plugin.CodeInternal,
	}
	for mode, code := range want {
		o := testOptions(t)
		o.Plugin = testPlugin(t, mode)
		if sum, err := Run(t.Context(), o); sum != nil || plugin.CodeOf(err) != code {
			t.Errorf("%s: %+v, %v, want code %s", mode, sum, err, code)
		}
	}
	o := testOptions(t)
	o.Plugin.Path += ".gone"
	if sum, err := Run(t.Context(), o); sum != nil || err == nil {
		t.Errorf("a plugin that does not exist: %+v, %v", sum, err)
	}
}

// TestKeep: the demo stays up, says how to connect, serves other tools, and
// counts what they sent too.
func TestKeep(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	kept := make(chan struct{})
	out := &safeBuffer{await: "Ctrl-C ends it.", found: func() { close(kept) }}
	o := testOptions(t)
	o.Requests, o.Keep, o.Out = 20, true, out
	type end struct {
		sum *Summary
		err error
	}
	ended := make(chan end, 1)
	go func() { sum, err := Run(ctx, o); ended <- end{sum, err} }()
	select {
	case <-kept:
	case e := <-ended:
		t.Fatalf("it did not stay up: %+v, %v\n%s", e.sum, e.err, out)
	}
	sendAsTold(t, out.String())
	leave()
	e := <-ended
	if e.err != nil || len(e.sum.Problems()) > 0 {
		t.Fatalf("%+v, %v", e.sum, e.err)
	}
	if e.sum.Requests != o.Requests+1 {
		t.Errorf("%d requests, want the stream's %d and one more", e.sum.Requests, o.Requests)
	}
}

// sendAsTold sends a list request to where the text says, and waits for its
// result.
func sendAsTold(t *testing.T, text string) {
	t.Helper()
	var address, identity, service string
	for line := range strings.Lines(text) {
		if strings.Contains(line, "--operation list") {
			if _, err := fmt.Sscanf(strings.TrimSpace(line), "countersign send --brokers %s --wait --operation list --service-sid %s --identity %s",
				&address, &service, &identity); err != nil {
				t.Fatalf("%v in %q", err, line)
			}
		}
	}
	client, err := kafka.NewClient(kafka.Config{Brokers: []string{address}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	value, err := (&schemas.Request{ID: "from-outside", Operation: schemas.OperationList, ServiceSID: service, Identity: identity}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Produce(t.Context(), []kafka.Message{{Topic: demoTopics.requests, Key: []byte(identity), Value: value}}); err != nil {
		t.Fatal(err)
	}
	known := newTracker()
	ctx, stop := context.WithCancel(t.Context())
	var following sync.WaitGroup
	following.Go(func() { known.follow(ctx, client, demoTopics) })
	defer following.Wait()
	defer stop()
	for range known.changed {
		if _, done := known.end("from-outside"); done {
			return
		}
		if err := known.err(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSummaryJSON pins the names that scripts rely on.
func TestSummaryJSON(t *testing.T) {
	data, err := json.Marshal(Summary{})
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"requests", "results", "outcomes", "dead_letters", "calls", "creates", "lost", "plugin_pid", "pid", "duplicates",
		"retries", "breaker_opens", "p50_ms", "p99_ms", "seed", "elapsed_ms", "classes",
	} {
		if _, ok := fields[name]; !ok {
			t.Errorf("no %s in %s", name, data)
		}
	}
}
