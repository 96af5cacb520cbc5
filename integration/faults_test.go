package integration

import (
	"bytes"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/countersign/countersign/integration/cluster"
	"github.com/countersign/countersign/internal/emulator"
)

var faultList = flag.String("faults", "", "what TestFaults does to a cluster of three brokers: all, short, or names of faults separated by commas; empty: nothing")

const (
	faultHosts = 2
	// quietly is how many lines at WARN or above a host may write a minute.
	quietly = 24
	// settled is how many requests may be without an answer where nothing is wrong.
	settled = 100
)

// notEnoughReplicas is how kafka-go words that error of a broker.
const notEnoughReplicas = "Not Enough Replicas"

// fault is something that happens to a cluster.
type fault struct {
	name  string
	short bool // part of -faults=short
	// stops: nothing can be committed until it is over.
	stops bool
	// says is what a host has to say about it at WARN or above, or at /readyz.
	says string
	// gentle: brokers leave in good order, so that perhaps nobody notices. Who does
	// has to say so.
	gentle bool
	// strike does it, and returns when every broker runs again.
	strike func(f *faulted)
}

func faults() []fault {
	return []fault{
		{
			name: "leader-killed", short: true, says: `connection refused|EOF|reset|Leader|replica|[Cc]oordinator`,
			strike: func(f *faulted) { f.down(20*time.Second, f.leader(f.topics.Requests)) },
		},
		{
			name: "rolling-restart", short: true, gentle: true,
			says:   `connection refused|EOF|reset|i/o timeout|Leader|replica|[Cc]oordinator|joining the consumer group`,
			strike: (*faulted).roll,
		},
		{
			name: "paused-broker", short: true, says: `deadline exceeded|i/o timeout|Leader|timed out|[Cc]oordinator`,
			strike: func(f *faulted) { f.pause(30*time.Second, f.leader(f.topics.Results)) },
		},
		{
			name: "isr-below-minimum", short: true, stops: true, says: notEnoughReplicas,
			strike: func(f *faulted) {
				own := []string{f.topics.Results, f.topics.DeadLetters, f.topics.Ledger, f.topics.Positions}
				f.shrunk(25*time.Second, f.leader(f.topics.Requests), own...)
			},
		},
		{
			name: "two-down", stops: true, says: `Not Enough Replicas|connection refused|[Cc]oordinator|Leader`,
			strike: func(f *faulted) {
				last := f.leader(f.topics.Requests)
				f.down(25*time.Second, slices.DeleteFunc(f.cluster.Nodes(), func(n *cluster.Node) bool { return n == last })...)
			},
		},
		{
			name: "group-coordinator-killed", says: `connection refused|EOF|reset|Leader|[Cc]oordinator`,
			strike: func(f *faulted) { f.down(15*time.Second, f.coordinator(f.group, 0)) },
		},
		{
			name: "transaction-coordinator-killed", says: `connection refused|EOF|reset|Leader|[Cc]oordinator`,
			strike: func(f *faulted) {
				f.down(15*time.Second, f.coordinator(fmt.Sprintf("%s-%s-0", f.group, f.topics.Requests), 1))
			},
		},
		{
			name: "full-stop", stops: true, says: `connection refused`,
			strike: func(f *faulted) { f.down(time.Minute, f.cluster.Nodes()...) },
		},
	}
}

// chosen are the faults that the flag asks for.
func chosen(t *testing.T) []fault {
	t.Helper()
	var out []fault
	known := map[string]bool{"all": true, "short": true}
	asked := strings.FieldsFunc(*faultList, func(r rune) bool { return r == ',' || r == ' ' })
	for _, f := range faults() {
		known[f.name] = true
		if slices.Contains(asked, f.name) || slices.Contains(asked, "all") || f.short && slices.Contains(asked, "short") {
			out = append(out, f)
		}
	}
	for _, name := range asked {
		if !known[name] {
			t.Fatalf("-faults: there is no fault %q", name)
		}
	}
	return out
}

// TestFaults strikes the brokers of a cluster of three, under load, one fault
// after the other. Each is followed by everything being answered again, and
// named in the hosts' logs in few lines. At the end independent readers count:
// nothing lost, nothing called twice, nothing answered twice. Without -faults
// (make faults) it is left out.
func TestFaults(t *testing.T) {
	list := chosen(t)
	if len(list) == 0 {
		t.Fatalf("-faults=%q names no fault", *faultList)
	}
	f := newFaulted(t)
	f.load.begin()
	f.await("the first results", 2*time.Minute, func() bool { return f.load.answered() > 200 && f.ready() })
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "fault\tlasted\tlongest silence\tfirst result after its end\tnothing waits after its end\tready after its end\tlines a minute and host")
	for _, one := range list {
		f.mark("%s is next", one.name)
		seen := f.strike(one)
		seen.row(w)
		t.Logf("%s is done after %v: %+v", one.name, time.Since(f.started).Round(time.Second), seen)
	}
	f.load.end()
	f.await("every request to be answered", 5*time.Minute, func() bool { return f.load.answered() >= f.load.sent() })
	f.leave()
	_ = w.Flush()
	t.Logf("\n%s", table.String())
	v := f.judge(f.load)
	t.Logf("\n%s", v.table())
	v.complain()
	f.auditsClean(f.t)
	if v.ambiguous > 0 {
		f.t.Errorf("%d creates ended in doubt: the API shows what it made", v.ambiguous)
	}
	for _, line := range f.lines(f.started, time.Now()) {
		if line.Message == "plugin down, restarting it" {
			f.t.Errorf("%s: a plugin was replaced: %s", line.host, line.Error)
		}
	}
}

func newFaulted(t *testing.T) *faulted {
	t.Helper()
	brokers, err := cluster.StartJars(t.Context(), cluster.JarsConfig{Brokers: 3, JVM: []string{"-Xmx384m", "-XX:+UseSerialGC"}})
	must(t, err)
	t.Cleanup(func() { must(t, brokers.Close(t.Context())) })
	f := &faulted{cluster: brokers}
	f.chaos = newChaos(t, scene{
		hosts: faultHosts, at: new(placeAt(brokers.Addrs())), config: faultConfig,
		faults: emulator.Faults{Latency: emulator.Latency{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond, AfterShare: 0.5}},
	})
	f.load = newLoad(f.chaos)
	f.load.plainly = true
	return f
}

// faultConfig has the timing that users have: the defaults.
func faultConfig(c *chaos) []byte {
	return fmt.Appendf(nil, `
kafka:%s
accounts:
  main: {account_sid: %s, auth_token: "${env:TEST_TOKEN}", base_url: %s}
`, c.yaml(), emulator.DefaultAccountSID, c.api.URL())
}

// struck is what was seen of a fault.
type struck struct {
	name                                   string
	lasted, silence, first, drained, ready time.Duration
	lines                                  float64
}

func (s struck) row(w *tabwriter.Writer) {
	_, _ = fmt.Fprintf(w, "%s\t%.0fs\t%.1fs\t%.1fs\t%.1fs\t%.1fs\t%.1f\n", s.name, s.lasted.Seconds(), s.silence.Seconds(),
		s.first.Seconds(), s.drained.Seconds(), s.ready.Seconds(), s.lines)
}

// strike does one fault and waits until all is as before.
func (f *faulted) strike(one fault) struck {
	f.t.Helper()
	f.await("all replicas to be in sync", 5*time.Minute, f.inSync)
	f.await("no request to wait", 5*time.Minute, f.caughtUp)
	began := time.Now()
	f.mark("%s begins", one.name)
	unready := f.watchReadiness()
	one.strike(f)
	over := time.Now()
	f.mark("%s is over", one.name)
	s := struck{name: one.name, lasted: over.Sub(began)}
	f.await("answers after "+one.name, 3*time.Minute, func() bool { return f.load.since(over) > 20 })
	f.await("no request to wait", 5*time.Minute, f.caughtUp)
	s.drained = time.Since(over)
	f.await("every host to be ready", time.Minute, f.ready)
	s.ready = time.Since(over)
	end := time.Now()
	s.silence, s.first = f.load.silence(began, end, over)
	reasons := unready()
	lines := f.lines(began, end)
	s.lines = float64(len(lines)) / faultHosts / max(1, end.Sub(began).Minutes())
	f.explain(one, lines, reasons)
	if s.lines > quietly {
		f.t.Errorf("%s: %.1f lines a minute and host, want at most %d", one.name, s.lines, quietly)
	}
	if one.stops && len(reasons) == 0 {
		f.t.Errorf("%s: every host was ready all the time", one.name)
	}
	return s
}

// explain shows what the hosts said, and fails where nobody named the fault.
func (f *faulted) explain(one fault, lines []logLine, reasons []string) {
	f.t.Helper()
	want := regexp.MustCompile(one.says)
	named, counts, examples := false, map[string]int{}, map[string]string{}
	for _, l := range lines {
		named = named || want.MatchString(l.Error)
		counts[l.Message]++
		if examples[l.Message] == "" {
			examples[l.Message] = l.Error
		}
	}
	for message, n := range counts {
		f.t.Logf("%s: %d × %s: %s", one.name, n, message, examples[message])
	}
	for _, r := range reasons {
		named = named || want.MatchString(r)
		f.t.Logf("%s: /readyz: %s", one.name, r)
	}
	if noticed := len(lines) > 0 || len(reasons) > 0; !named && (noticed || !one.gentle) {
		f.t.Errorf("%s: no line says %s", one.name, one.says)
	}
}
