package compose_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// prometheusEnv names a Prometheus, as in http://127.0.0.1:9090, that has
// watched a working connector with these rules for a while (.ci/monitoring).
// Without it the files are held to docs/metrics.md only.
const prometheusEnv = "MONITORING_PROMETHEUS"

// quiet lists the queries that may have no answer in a short run without
// trouble, and why.
var quiet = map[string]string{
	"min(countersign_seconds_to_expiry)":                                                                                  "absent while nothing waits",
	"min by (partition) (countersign_seconds_to_expiry)":                                                                  "absent while nothing waits",
	"min by (partition) (countersign_seconds_to_expiry) < 60":                                                             "absent while nothing waits",
	"sum by (operation, code) (rate(countersign_kafka_errors_total[$__rate_interval]))":                                   "no failure, no series",
	"histogram_quantile(0.5, sum by (le, operation) (rate(countersign_call_duration_seconds_bucket[$__rate_interval])))":  "NaN for operations that are not called",
	"histogram_quantile(0.99, sum by (le, operation) (rate(countersign_call_duration_seconds_bucket[$__rate_interval])))": "NaN for operations that are not called",
}

type query struct{ where, expr string }

func dashboardQueries(t *testing.T) []query {
	t.Helper()
	var dashboard struct {
		UID    string
		Panels []struct {
			ID      int
			Title   string
			Type    string
			Targets []struct {
				Expr       string
				Datasource struct{ UID string }
			}
		}
	}
	read(t, filepath.Join("grafana", "dashboards", "countersign.json"), json.Unmarshal, &dashboard)
	var sources struct {
		Datasources []struct{ UID, URL string }
	}
	read(t, filepath.Join("grafana", "provisioning", "datasources", "prometheus.yml"), yaml.Unmarshal, &sources)
	var all []query
	ids := map[int]bool{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] {
			t.Errorf("panel %q: its id %d is taken", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			if target.Datasource.UID != sources.Datasources[0].UID {
				t.Errorf("panel %q: there is no source %q", p.Title, target.Datasource.UID)
			}
			all = append(all, query{where: "panel " + p.Title, expr: target.Expr})
		}
	}
	return all
}

func alertQueries(t *testing.T) []query {
	t.Helper()
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	read(t, "alerts.yml", yaml.Unmarshal, &rules)
	var all []query
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Annotations["summary"] == "" || !slices.Contains([]string{"page", "ticket"}, r.Labels["severity"]) {
				t.Errorf("%s: want a summary, and severity page or ticket", r.Alert)
			}
			all = append(all, query{where: "alert " + r.Alert, expr: r.Expr})
		}
	}
	return all
}

var metricName = regexp.MustCompile(`\bcountersign_[a-z0-9_]+`)

// documented are the names of docs/metrics.md, with those that a histogram has.
func documented(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(countersign_[a-z0-9_]+)` \\| (\\w+) ").FindAllStringSubmatch(string(text), -1) {
		names[row[1]] = true
		if row[2] == "histogram" {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				names[row[1]+part] = true
			}
		}
	}
	return names
}

func TestQueriesAskForDocumentedMetrics(t *testing.T) {
	names := documented(t)
	dashboard, alerts := dashboardQueries(t), alertQueries(t)
	if len(names) < 20 || len(dashboard) < 40 || len(alerts) < 15 {
		t.Fatalf("%d names, %d queries, %d alerts: too few to be all", len(names), len(dashboard), len(alerts))
	}
	for _, q := range slices.Concat(dashboard, alerts) {
		for _, name := range metricName.FindAllString(q.expr, -1) {
			if !names[name] {
				t.Errorf("%s: docs/metrics.md has no %s", q.where, name)
			}
		}
	}
	// An entry that nothing asks for any more hides nothing, and reads as if.
	for expr := range quiet {
		if !slices.ContainsFunc(slices.Concat(dashboard, alerts), func(q query) bool { return q.expr == expr }) {
			t.Errorf("nothing asks for %s", expr)
		}
	}
}

func TestQueriesOnPrometheus(t *testing.T) {
	server := os.Getenv(prometheusEnv)
	if server == "" {
		return // make monitoring-check names one
	}
	answered, silent := 0, 0
	names := map[string]bool{}
	for _, q := range dashboardQueries(t) {
		values, err := ask(t, server, q.expr)
		switch {
		case err != nil:
			t.Errorf("%s: %s: %v", q.where, q.expr, err)
		case len(values) > 0 && !slices.ContainsFunc(values, math.IsNaN):
			answered++
		case quiet[q.expr] != "":
			silent++
			t.Logf("%s: no answer: %s: %s", q.where, q.expr, quiet[q.expr])
		default:
			t.Errorf("%s: %s: %v", q.where, q.expr, values)
		}
	}
	// An alert's expression is silent where all is well, so its metrics are asked for.
	for _, q := range alertQueries(t) {
		if _, err := ask(t, server, q.expr); err != nil {
			t.Errorf("%s: %v", q.where, err)
		}
		for _, name := range metricName.FindAllString(q.expr, -1) {
			names[name] = true
		}
	}
	for name := range names {
		values, err := ask(t, server, "count("+name+")")
		if err != nil || len(values) == 0 {
			if reason := absent[name]; reason != "" && err == nil {
				t.Logf("no series of %s: %s", name, reason)
				continue
			}
			t.Errorf("no series of %s: %v", name, err)
		}
	}
	t.Logf("%d queries answered, %d silent by nature, %d metrics of alerts", answered, silent, len(names))
	rulesEvaluate(t, server)
}

// absent lists the metrics without a series in a short run without trouble.
var absent = map[string]string{
	"countersign_seconds_to_expiry":  "absent while nothing waits",
	"countersign_kafka_errors_total": "no failure, no series",
}

// rulesEvaluate sees that the server has loaded every rule and that none fails.
func rulesEvaluate(t *testing.T, server string) {
	t.Helper()
	var loaded struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if err := fetch(t, server+"/api/v1/rules", &loaded); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range loaded.Groups {
		for _, r := range g.Rules {
			n++
			if r.Health != "ok" {
				t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	if want := len(alertQueries(t)); n != want {
		t.Errorf("the server has %d rules of %d", n, want)
	}
}

// ask returns the values of an instant query.
func ask(t *testing.T, server, expr string) ([]float64, error) {
	t.Helper()
	expr = strings.ReplaceAll(expr, "$__rate_interval", "30s")
	var data struct {
		ResultType string
		Result     []struct{ Value [2]any }
	}
	if err := fetch(t, server+"/api/v1/query?query="+url.QueryEscape(expr), &data); err != nil {
		return nil, err
	}
	values := make([]float64, 0, len(data.Result))
	for _, r := range data.Result {
		text, _ := r.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

func fetch(t *testing.T, address string, data any) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", res.Status, body)
	}
	return json.Unmarshal(body, &struct{ Data any }{data})
}

func read(t *testing.T, path string, unmarshal func([]byte, any) error, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
