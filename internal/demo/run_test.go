package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

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
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("process %d is still there: %v", pid, err)
	}
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
	out := &safeBuffer{await: "the API goes away", found: func() { close(abort) }}
	o.Outage, o.Abort, o.Out = time.Minute, abort, out
	if sum, err := Run(t.Context(), o); sum != nil || !errors.Is(err, errGivenUp) {
		t.Fatalf("%+v, %v", sum, err)
	}
	var pid int
	_, after, _ := strings.Cut(out.String(), "plugin process ")
	if _, err := fmt.Sscanf(after, "%d", &pid); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	gone(t, pid)
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
