package integration

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/audit"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/emulator"
)

// audited is the report on everything in a place.
func (p place) audited(t testing.TB, change func(cfg *audit.Config)) *audit.Report {
	t.Helper()
	client, err := kafka.NewClient(kafka.Config{Brokers: p.addrs, ClientID: "auditor"})
	must(t, err)
	defer func() { must(t, client.Close()) }()
	cfg := audit.Config{
		Topics: audit.Topics{Requests: p.topics.Requests, Results: p.topics.Results, DeadLetters: p.topics.DeadLetters}, Group: p.group, Tool: "test",
	}
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	r, err := audit.Run(ctx, client, cfg)
	must(t, err)
	found, err := audit.Verify(ctx, client, r, audit.Config{})
	must(t, err)
	for _, d := range found {
		t.Errorf("the report that was just made: %s", d.Text)
	}
	return r
}

// auditsClean fails where an audit finds anything in a place.
func (p place) auditsClean(t testing.TB) *audit.Report {
	t.Helper()
	r := p.audited(t, nil)
	if !r.Clean() {
		var text bytes.Buffer
		must(t, r.Text(&text))
		t.Errorf("the audit finds\n%s", text.String())
	}
	return r
}

// onlyGET passes on to an API what reads, and fails the test for anything else.
func onlyGET(t *testing.T, api *emulator.Emulator) (base string) {
	t.Helper()
	to, err := url.Parse(api.URL())
	must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("an audit sent %s %s", r.Method, r.URL.Path)
			http.Error(w, "no", http.StatusTeapot)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestAudit: what a connector leaves behind audits clean, also by the API's word.
// What is put beside it is found, by the command too.
func TestAudit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Config{})
	m := w.run(w.config())
	const creates = 60
	for i := range creates {
		w.send(w.create(i))
	}
	w.sendRaw(kafka.Message{Topic: w.topics.Requests, Value: []byte("not json")})
	got := w.awaitAll()
	must(t, m.leave())
	r := w.auditsClean(t)
	if c := r.Counts; c.Requests != creates+1 || c.AnsweredOnce != creates+1 || c.Challenges != creates || c.DeadLetters != 1 || !r.Window.Closed {
		t.Errorf("%+v", c)
	}
	reader, err := connector.AccountConfig{AccountSID: emulator.DefaultAccountSID, AuthToken: emulator.DefaultAuthToken, BaseURL: onlyGET(t, w.api)}.Reader()
	must(t, err)
	defer reader.CloseIdleConnections()
	r = w.audited(t, func(cfg *audit.Config) {
		cfg.Compare = &audit.CompareConfig{Accounts: map[string]audit.Challenges{"": reader}, Budget: 1000, Rate: 1000}
	})
	if !r.Clean() || r.API == nil || r.API.Challenges != creates || r.API.Compared != creates || r.API.Calls != creates {
		t.Errorf("%+v, %+v", r.API, r.Findings)
	}
	w.auditByCommand(t, exitClean, "clean: every one of 61 requests has exactly one answer")

	// Somebody publishes a result again.
	for at, results := range got.results {
		value, err := results[0].Encode()
		must(t, err)
		must(t, w.kafka.Produce(t.Context(), []kafka.Message{{Topic: w.topics.Results, Value: value}}))
		r = w.audited(t, nil)
		if len(r.Findings) != 1 || r.Findings[0].Detail != audit.DetailAnsweredTwice || at != coordinates(w.topics.Requests, r.Findings[0].Request.Partition, r.Findings[0].Request.Offset) {
			t.Errorf("%s was answered twice: %+v", at, r.Findings)
		}
		break
	}
	w.auditByCommand(t, exitFound, "answered twice")
}

const (
	exitClean = 0
	exitFound = 1
)

// auditByCommand runs the command with all its outputs, and checks the report's
// signature and the report by its other half.
func (w *world) auditByCommand(t *testing.T, code int, says string) {
	t.Helper()
	bin, err := binary()
	must(t, err)
	dir := t.TempDir()
	config := filepath.Join(dir, "countersign.yaml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, "kafka:%s\naccounts:\n  main: {account_sid: %s, auth_token: %s, base_url: %s}\n",
		w.yaml(), emulator.DefaultAccountSID, emulator.DefaultAuthToken, onlyGET(t, w.api)), 0o600))
	run := func(want int, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), bin, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%v: exit %d, want %d: %v\n%s", args, got, want, err, out)
		}
		return string(out)
	}
	run(exitClean, "audit", "keygen", "--name", "auditor.test", "--out", "key")
	out := run(code, "audit", "--config", config, "--verify", "--json", "report.json", "--html", "report.html", "--sign", "key")
	if !strings.Contains(out, says) {
		t.Errorf("no %q in\n%s", says, out)
	}
	for _, f := range w.factors {
		for _, name := range []string{"report.json", "report.html"} {
			data, err := os.ReadFile(filepath.Join(dir, name))
			must(t, err)
			if bytes.Contains(data, []byte(f.Identity)) {
				t.Errorf("%s names %s", name, f.Identity)
			}
		}
	}
	if code == exitClean {
		// It never speaks to the API, and would be heard here.
		if out := run(exitClean, "replay", "--check", "--config", config); !strings.Contains(out, "same") {
			t.Errorf("%s", out)
		}
		if out := run(exitClean, "replay", "--into", w.topics.Results+".again", "--config", config); !strings.Contains(out, "written") {
			t.Errorf("%s", out)
		}
	}
	if out := run(exitClean, "audit", "verify", "--config", config, "--key", "key.pub", "report.json"); !strings.Contains(out, "signed by auditor.test") {
		t.Errorf("%s", out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "report.json"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "report.json"), bytes.Replace(data, []byte(`"closed"`), []byte(`"closed" `), 1), 0o600))
	run(exitFound, "audit", "verify", "--config", config, "--key", "key.pub", "report.json")
}
