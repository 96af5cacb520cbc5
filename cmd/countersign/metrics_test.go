package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/countersign/countersign/internal/emulator"
)

// contract is what a metric looks like from outside: its type and the names of
// its labels.
type contract struct{ kind, labels string }

// documented reads the tables of docs/metrics.md: the connector's metrics and
// those that only a host has.
func documented(t *testing.T) (connector, host map[string]contract) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("^\\| `(countersign_[a-z_]+)` \\| (counter|gauge|histogram) \\| ([^|]*)\\|[^|]*\\|[^|]*\\|[^|]*\\|$")
	label := regexp.MustCompile("`([a-z_]+)`")
	connector, host = map[string]contract{}, map[string]contract{}
	into := connector
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "## The host" {
			into = host
		}
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		m := row.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("a row of docs/metrics.md that is no metric: %s", line)
		}
		var labels []string
		for _, l := range label.FindAllStringSubmatch(m[3], -1) {
			labels = append(labels, l[1])
		}
		slices.Sort(labels)
		if _, twice := into[m[1]]; twice {
			t.Errorf("%s is documented twice", m[1])
		}
		into[m[1]] = contract{m[2], strings.Join(labels, ",")}
	}
	return connector, host
}

// families parses a scrape.
func families(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("/metrics: %v\n%s", err, text)
	}
	return parsed
}

// exposed is what a scrape shows of ours.
func exposed(t *testing.T, text string) map[string]contract {
	t.Helper()
	out := map[string]contract{}
	for name, family := range families(t, text) {
		if !strings.HasPrefix(name, "countersign_") {
			if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
				t.Errorf("%s is neither ours nor the runtime's", name)
			}
			continue
		}
		labels := map[string]bool{}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
			}
		}
		out[name] = contract{strings.ToLower(family.GetType().String()), strings.Join(slices.Sorted(maps.Keys(labels)), ",")}
	}
	return out
}

func compare(t *testing.T, documented, exposed map[string]contract) {
	t.Helper()
	for name, want := range documented {
		if got, ok := exposed[name]; !ok {
			t.Errorf("%s is documented and not exposed", name)
		} else if got != want {
			t.Errorf("%s is %+v, documented as %+v", name, got, want)
		}
	}
	for name := range exposed {
		if _, ok := documented[name]; !ok {
			t.Errorf("%s is exposed and not documented", name)
		}
	}
}

// readUntil reads a URL until the text is in what it answers.
func readUntil(t *testing.T, url, text string) string {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		_, body := get(t, url)
		if strings.Contains(body, text) {
			return body
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no %q in %s:\n%s", text, url, body)
		}
	}
}

// docs/metrics.md and the registry say the same, name by name, in both
// directions: of a connector in this process, and of one behind a host, seen
// through the plugin protocol.
func TestMetricsAreAsDocumented(t *testing.T) {
	connector, host := documented(t)
	for _, name := range []string{"run", "host"} {
		t.Run(name, func(t *testing.T) {
			h := newHold()
			s := newStack(t, func(c *emulator.Config) { c.BeforeWork = h.work })
			c := start(t, name, "--config", configPath, "--listen", "127.0.0.1:0")
			url := c.listening(t)
			c.joined(t)
			cli(t, "", s.create("--id", "held")...).want(t, exitOK)
			h.wait(t)
			// Nothing expires while nothing waits, so this one is there only now.
			body := readUntil(t, url+"/metrics", "countersign_seconds_to_expiry{")
			want := maps.Clone(connector)
			if name == "host" {
				maps.Copy(want, host)
			}
			compare(t, want, exposed(t, body))
			if left := gauge(t, body, "countersign_seconds_to_expiry"); left < 200 || left > 300 {
				t.Errorf("%v s to expiry of a request that is good for 5 minutes", left)
			}
			// A host shows the last status that its plugin sent.
			status := readUntil(t, url+"/status", `"expires_in":`)
			for _, key := range []string{"lag", "unstable", "span", "uncertain", "expires_in", "oldest_age", "lease", "stuck", "share"} {
				if !strings.Contains(status, `"`+key+`":`) {
					t.Errorf("no %s in /status: %s", key, status)
				}
			}
			close(h.release)
			// The commit is counted, and then the lane says how it stands.
			for _, line := range []string{
				`countersign_requests_total 1`, `countersign_results_total{outcome="succeeded"} 1`,
				`countersign_calls_total{account="main",class="ok",operation="create"} 1`,
				`countersign_request_duration_seconds_count{outcome="succeeded"} 1`, `countersign_ready 1`, `countersign_lanes 2`,
				`countersign_breaker_state{account="main"} 0`, `countersign_limiter_share{account="main"} 1`,
				`countersign_commit_records_sum 1`, `countersign_ledger_entries 1`, `countersign_lag_records{partition="1"} 0`,
			} {
				readUntil(t, url+"/metrics", line+"\n")
			}
			c.end()
			c.wait(t).want(t, exitOK)
		})
	}
}

// gauge is the sum of a gauge's series.
func gauge(t *testing.T, text, name string) (sum float64) {
	t.Helper()
	for _, m := range families(t, text)[name].GetMetric() {
		sum += m.GetGauge().GetValue()
	}
	return sum
}

// The comparison itself must be able to see a difference.
func TestMetricsContractCanFail(t *testing.T) {
	connector, host := documented(t)
	if len(connector) < 40 || len(host) != 2 {
		t.Errorf("%d and %d metrics are documented", len(connector), len(host))
	}
	got := exposed(t, "# TYPE countersign_lanes gauge\ncountersign_lanes{partition=\"1\"} 2\n")
	if want := (contract{"gauge", "partition"}); got["countersign_lanes"] != want || connector["countersign_lanes"] == want {
		t.Errorf("exposed %+v, documented %+v", got["countersign_lanes"], connector["countersign_lanes"])
	}
}
