package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// webState is what these tests read of the page's state.
type webState struct {
	Phones []struct {
		Identity  string
		FactorSID string `json:"factor_sid"`
		Command   string
		Open      []struct{ SID, Message string }
		Past      []struct{ SID, Status string }
	}
	Flows []struct {
		Message string
		Steps   []struct{ Kind, Text string }
	}
}

// personAtPage is somebody at the page, without a browser.
type personAtPage struct {
	t          *testing.T
	url, token string
	client     *http.Client
}

func (p *personAtPage) call(method, path, body string) (int, []byte) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Phones-Token", p.token)
	res, err := p.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, text
}

func (p *personAtPage) await(what string, fits func(webState) bool) webState {
	p.t.Helper()
	timeout := time.After(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_, text := p.call(http.MethodGet, "state", "")
		var s webState
		if err := json.Unmarshal(text, &s); err != nil {
			p.t.Fatal(err)
		}
		if fits(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-timeout:
			p.t.Fatalf("no %s: %s", what, text)
		}
	}
}

func (s webState) steps(message string) string {
	var all []string
	for _, f := range s.Flows {
		if f.Message == message {
			for _, step := range f.Steps {
				all = append(all, strings.TrimSpace(step.Kind+" "+step.Text))
			}
		}
	}
	return strings.Join(all, ", ")
}

// TestWeb: requests of the page go the whole way round, what its people leave
// alone stays pending, and everything is counted with the stream.
func TestWeb(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	kept := make(chan struct{})
	out := &safeBuffer{await: "Ctrl-C ends it.", found: func() { close(kept) }}
	o := testOptions(t)
	o.Requests, o.Web, o.Out = 20, "127.0.0.1:0", out
	p := &personAtPage{t: t, client: &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}}
	defer p.client.CloseIdleConnections()
	var messages []string
	late := httptest.NewRecorder()
	o.inspect = func(ctx context.Context, w *world) {
		body := fmt.Sprintf(`{"factor_sid":%q,"message":"Too late?","expires":60}`, w.web.phones[0].Device.Factor().SID)
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, p.url+"send", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Phones-Token", p.token)
		w.web.page.Handler().ServeHTTP(late, r)
		_ = each(ctx, w.kafka, demoTopics.requests, func(rec kafka.Record) {
			if r, _, err := schemas.DecodeRequest(rec.Value); err == nil && strings.HasPrefix(r.ID, "web-") {
				messages = append(messages, r.Create.Details.Message)
			}
		})
	}
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
	p.url = regexp.MustCompile(`browser: (http://\S+/)`).FindStringSubmatch(out.String())[1]
	_, page := p.call(http.MethodGet, "", "")
	p.token = string(regexp.MustCompile(`name="token" content="([^"]+)"`).FindSubmatch(page)[1])

	s := p.await("first requests", func(s webState) bool {
		return len(s.Phones) == len(webIdentities) && len(s.Phones[0].Open) == 1 && len(s.Phones[1].Open) == 1
	})
	first := s.Phones[0].Open[0]
	press := func(sid, status string) {
		t.Helper()
		if code, text := p.call(http.MethodPost, "answer", fmt.Sprintf(`{"sid":%q,"answer":%q}`, sid, status)); code != 200 {
			t.Fatalf("%d %s", code, text)
		}
	}
	press(first.SID, "approved")
	p.await("approved", func(s webState) bool {
		return s.steps(first.Message) == "requested, created, result succeeded, answered approved"
	})
	if !strings.Contains(s.Phones[1].Command, "--factor-sid "+s.Phones[1].FactorSID) {
		t.Errorf("%q", s.Phones[1].Command)
	}
	const asked = "Is it really you?"
	body := fmt.Sprintf(`{"factor_sid":%q,"message":%q,"expires":300}`, s.Phones[0].FactorSID, asked)
	if code, text := p.call(http.MethodPost, "send", body); code != http.StatusAccepted {
		t.Fatalf("%d %s", code, text)
	}
	s = p.await("asked", func(s webState) bool { return len(s.Phones[0].Open) == 1 })
	press(s.Phones[0].Open[0].SID, "denied")
	s = p.await("denied", func(s webState) bool {
		return s.steps(asked) == "requested, created, result succeeded, answered denied"
	})
	if len(s.Flows) != 3 || bytes.Contains(page, []byte("customer-")) {
		t.Errorf("the stream's own people are shown: %+v", s)
	}
	leave()
	e := <-ended
	if e.err != nil || len(e.sum.Problems()) > 0 || e.sum.Interrupted {
		t.Fatalf("%+v, %v", e.sum, e.err)
	}
	if e.sum.Requests != o.Requests+3 || len(messages) != 3 {
		t.Errorf("%d requests, want the stream's %d and three of the page: %q", e.sum.Requests, o.Requests, messages)
	}
	if late.Code != http.StatusServiceUnavailable || !strings.Contains(late.Body.String(), "draining") {
		t.Errorf("a request after the end: %d %s", late.Code, late.Body)
	}
	if e.sum.Approved < 1 || e.sum.Denied < 1 {
		t.Errorf("%+v", e.sum)
	}
}
