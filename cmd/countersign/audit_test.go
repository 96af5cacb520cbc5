package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/audit"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// ask writes a request and, where answered, its result.
func (p *producer) ask(id string, partition int, offset int64, answered bool) {
	p.t.Helper()
	value := `{"version":"1.0","id":"` + id + `","operation":"create","service_sid":"` + someService + `","identity":"` + testIdentity +
		`","create":{"factor_sid":"` + someFactor + `","auth_payload":"918273"}}`
	p.produce(kafka.Message{Topic: requestsTopic, Partition: &partition, Timestamp: someTime, Value: []byte(value)})
	if !answered {
		return
	}
	at := schemas.Coordinates{Topic: requestsTopic, Partition: partition, Offset: offset, Timestamp: someTime}
	r := schemas.Result{
		ID: schemas.ResultID("countersign", at, 0), RequestID: id, Operation: schemas.OperationCreate, Outcome: schemas.OutcomeSucceeded,
		ServiceSID: someService, Identity: testIdentity, Attempts: 1, Request: at, Times: schemas.Times{Received: someTime, Completed: someTime.Add(time.Second)},
		Challenge: json.RawMessage(`{"sid":"YC` + strings.Repeat("0", 31) + string(rune('1'+offset)) + `","status":"pending"}`),
	}
	data, err := r.Encode()
	if err != nil {
		p.t.Fatal(err)
	}
	p.produce(kafka.Message{Topic: resultsTopic, Timestamp: someTime.Add(time.Second), Value: data})
}

// worked says that the group has worked off so many requests.
func (p *producer) worked(brokers string, partition int, offset int64) {
	p.t.Helper()
	client := &kafkago.Client{Addr: kafkago.TCP(brokers), Transport: &kafkago.Transport{}}
	defer client.Transport.(*kafkago.Transport).CloseIdleConnections()
	res, err := client.OffsetCommit(p.t.Context(), &kafkago.OffsetCommitRequest{
		GroupID: "countersign", GenerationID: -1,
		Topics: map[string][]kafkago.OffsetCommit{requestsTopic: {{Partition: partition, Offset: offset}}},
	})
	if err == nil {
		err = res.Topics[requestsTopic][0].Error
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func TestAudit(t *testing.T) {
	p := newProducer(t)
	t.Chdir(t.TempDir())
	p.ask("one", 0, 0, true)
	p.ask("two", 0, 1, true)
	p.ask("three", 1, 0, false)
	hides := func(texts ...string) {
		t.Helper()
		for _, text := range texts {
			for _, secret := range []string{"918273", testIdentity} {
				if strings.Contains(text, secret) {
					t.Errorf("it shows %s:\n%s", secret, text)
				}
			}
		}
	}
	cli(t, "", "audit", "keygen", "--name", "auditor", "--out", "key").want(t, exitOK)
	cli(t, "", "audit", "keygen", "--name", "auditor", "--out", "key").want(t, exitFailed) // it is there
	e := cli(t, "", "audit", "--json", "report.json", "--html", "report.html", "--sign", "key").want(t, exitFailed)
	if !strings.Contains(e.out, "2 open window") || !strings.Contains(e.err, "5 of 5 offsets, 100 %") {
		t.Errorf("%s%s", e.out, e.err)
	}
	page, err := os.ReadFile("report.html")
	if err != nil || !bytes.HasPrefix(page, []byte("<!doctype html>")) && !bytes.HasPrefix(page, []byte("<!DOCTYPE html>")) {
		t.Errorf("%.40s, %v", page, err)
	}
	report, err := os.ReadFile("report.json")
	if err != nil {
		t.Fatal(err)
	}
	hides(e.out, string(page), string(report))
	same := cli(t, "", "audit", "--json", "-").want(t, exitFailed)
	if same.out != string(report) {
		t.Errorf("the same window is reported as\n%s\nand as\n%s", report, same.out)
	}
	if e := cli(t, "", "audit", "verify", "--key", "key.pub", "report.json").want(t, exitOK); !strings.Contains(e.out, "signed by auditor\n") || !strings.Contains(e.out, "all 3 requests") {
		t.Errorf("%s", e.out)
	}
	if e := cli(t, "", "audit", "--offsets", "0=0:2").want(t, exitFailed); !strings.Contains(e.out, "2 with exactly one answer") {
		t.Errorf("%s", e.out)
	}
	if left, err := filepath.Glob("*.state*"); err != nil || len(left) > 0 {
		t.Errorf("states are left: %v, %v", left, err)
	}
	p.ask("four", 1, 1, false)
	if e := cli(t, "", "audit", "verify", "report.json").want(t, exitOK); !strings.Contains(e.out, "all 3 requests") {
		t.Errorf("%s", e.out)
	}
}

// A duration ago is another time when the command is given again, so the message names
// flags that take up the same state, to the same report.
func TestAuditSaysHowToGoOn(t *testing.T) {
	kc := connector.KafkaConfig{Group: "g", Topics: connector.TopicsConfig{Requests: "a", Results: "b", DeadLetters: "c"}}
	now := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("", 3600))
	interrupted := &audit.Error{Code: audit.CodeInterrupted, Err: context.Canceled}
	for _, c := range []struct {
		from, to, until string
		want            string // flags; empty: the same ones
	}{
		{"24h", "1h", "", "--from 2026-02-28T11:00:00.123456789Z --to 2026-03-01T10:00:00.123456789Z"},
		{"24h", "", "", "--from 2026-02-28T11:00:00.123456789Z"},
		{"2026-02-01T00:00:00+01:00", "", "10m", "--from 2026-01-31T23:00:00Z --answers-until 2026-03-01T10:50:00.123456789Z"},
		{"2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z", "", ""},
		{"", "", "", ""},
	} {
		f := auditFlags{
			window: windowFlags{from: c.from, to: c.to}, answersUntil: c.until,
			notAfter: time.Minute, skew: time.Minute, lateTolerance: time.Second, maxFindings: 10, rate: 1,
		}
		cfg, err := f.config(kc, now)
		if err != nil {
			t.Fatal(err)
		}
		said := f.explain(interrupted, cfg).Error()
		if !strings.Contains(said, cfg.State) || c.want == "" && !strings.Contains(said, "the same command goes on from") || !strings.Contains(said, "command with "+c.want+", because") && c.want != "" {
			t.Errorf("%+v: %s", c, said)
		}
		words := strings.Fields(c.want)
		for i := 0; i < len(words); i += 2 {
			*map[string]*string{"--from": &f.window.from, "--to": &f.window.to, "--answers-until": &f.answersUntil}[words[i]] = words[i+1]
		}
		again, err := f.config(kc, now.Add(time.Hour))
		if err != nil || again.State != cfg.State || !again.From.Equal(cfg.From) || !again.To.Equal(cfg.To) || !again.AnswersUntil.Equal(cfg.AnswersUntil) {
			t.Errorf("%+v: an hour later %+v, %v, before %+v", c, again, err, cfg)
		}
	}
}

// A comparison that could not be made of all challenges is no clean end.
func TestAuditThatIsNotComplete(t *testing.T) {
	p := newProducer(t)
	t.Chdir(t.TempDir())
	p.ask("one", 0, 0, true)
	p.ask("two", 0, 1, true)
	brokers := os.Getenv("COUNTERSIGN_KAFKA__BROKERS")
	p.worked(brokers, 0, 2)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "2") {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"code":20001,"message":"no","status":400}`))
			return
		}
		_, _ = w.Write([]byte(`{"sid":"YC` + strings.Repeat("0", 31) + `1","status":"pending"}`))
	}))
	defer api.Close()
	config := "kafka:\n  brokers: [" + brokers + "]\naccounts:\n  main: {account_sid: AC00000000000000000000000000000001, auth_token: x, base_url: " + api.URL + "}\n"
	if err := os.WriteFile("c.yaml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	e := cli(t, "", "audit", "--config", "c.yaml", "--verify", "--json", "r.json").want(t, exitUsage)
	for text, in := range map[string]string{
		"1 of 2 challenges compared": e.out, "1 the API answered with status 400, code 20001": e.out, "; the comparison with the API is": e.out,
		"not all challenges could be compared": e.err, "2 of 2 challenges compared with the API, 100 %": e.err,
	} {
		if !strings.Contains(in, text) {
			t.Errorf("no %q in\n%s", text, in)
		}
	}
	cli(t, "", "audit", "verify", "r.json").want(t, exitOK)
}

func TestAuditUsage(t *testing.T) {
	newProducer(t)
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage")
	if err := os.WriteFile(garbage, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--from", "soon"}, "--from must be"},
		{[]string{"--from", "1h", "--to", "2h"}, "no time is from"},
		{[]string{"--offsets", "1:2"}, "--offsets must be PARTITION=FROM:TO"},
		{[]string{"--offsets", "0=2:1"}, "--offsets must be PARTITION=FROM:TO"},
		{[]string{"--offsets", "0=1:2", "--from", "1h"}, "not by both"},
		{[]string{"--offsets", "9=1:2"}, "there is no partition 9"},
		{[]string{"--sign", garbage}, "--sign needs --json"},
		{[]string{"--identity-key", filepath.Join(dir, "none")}, "--identity-key"},
		{[]string{"--json", filepath.Join(dir, "none", "report.json")}, "no such file"},
		{[]string{"--max-findings", "-1"}, "--max-findings must be above 0"},
		{[]string{"--max-findings", "1000001"}, "findings of a kind"},
		{[]string{"--late-tolerance", "0"}, "--late-tolerance must be above 0"},
		{[]string{"--skew", "0", "--not-after", "0"}, "--skew must be above 0"},
		{[]string{"--verify-rate", "0"}, "--verify-rate must be above 0"},
		{[]string{"--state", garbage}, "going on from " + garbage},
		{[]string{"--verify"}, "accounts"},
		{[]string{"verify"}, "takes one file"},
		{[]string{"verify", filepath.Join(dir, "none")}, "no such file"},
		{[]string{"verify", garbage}, garbage},
		{[]string{"keygen"}, "--name and --out"},
		{[]string{"--requests-topic", "none"}, "none"},
	} {
		if e := cli(t, "", append([]string{"audit"}, c.args...)...).want(t, exitUsage); !strings.Contains(e.err, c.says) {
			t.Errorf("%v: no %q in %s", c.args, c.says, e.err)
		}
	}
}
