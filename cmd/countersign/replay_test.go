package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/connector/replay"
	"github.com/countersign/countersign/schemas"
)

// says checks that a command's output has all the texts, and shows none of what
// nobody may see.
func (e ended) says(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(e.out+e.err, text) {
			t.Errorf("no %q in\n%s%s", text, e.out, e.err)
		}
	}
	for _, secret := range []string{"918273", testIdentity} {
		if strings.Contains(e.out+e.err, secret) {
			t.Errorf("it shows %s:\n%s%s", secret, e.out, e.err)
		}
	}
}

func (p *producer) in(topic string) []kafka.Record {
	p.t.Helper()
	return (&stack{client: p.client}).records(p.t, topic)
}

func TestReplayInto(t *testing.T) {
	p := newProducer(t)
	p.results("a", "b", "c", "d", "e", "f")
	cli(t, "", "replay", "--into", "rebuilt", "--dry-run").want(t, exitOK).says(t,
		"6 offsets of challenge.results in 2 partitions\n", "goes on at 0\n", "dry run: nothing was written; rebuilt would be made\n")
	if _, err := p.client.Partitions(t.Context(), "rebuilt"); kafka.CodeOf(err) != kafka.CodeUnknownTopic {
		t.Fatalf("a dry run made the topic: %v", err)
	}
	e := cli(t, "", "replay", "--into", "rebuilt").want(t, exitOK)
	e.says(t, "6 records written to rebuilt by run ")
	if !strings.HasPrefix(e.err, "0 of 6 offsets, 0 %\n") || !strings.Contains(e.err, "6 of 6 offsets, 100 %") {
		t.Errorf("progress %q", e.err)
	}
	got, want := p.in("rebuilt"), p.in(resultsTopic)
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i, rec := range got {
		if string(rec.Value) != string(want[i].Value) || !rec.Timestamp.Equal(want[i].Timestamp) || rec.Headers[len(rec.Headers)-1].Key != replay.HeaderSource {
			t.Errorf("%+v", rec)
		}
	}
	cli(t, "", "replay", "--into", "rebuilt").want(t, exitOK).says(t, "  goes on with run ", "nothing left\n", "0 records written to rebuilt")
	cli(t, "", "replay", "--into", "rebuilt", "--to", someTime.Add(3*time.Second).Format(time.RFC3339)).want(t, exitFailed).says(t, "another window or target")
	var report struct {
		DryRun     bool             `json:"dry_run"`
		Written    int              `json:"written"`
		Left       int              `json:"left"`
		Partitions []map[string]any `json:"partitions"`
		Refusals   []string         `json:"refusals"`
	}
	e = cli(t, "", "replay", "--into", "else", "--group", "other", "--to", someTime.Add(3*time.Second).Format(time.RFC3339), "--json").want(t, exitOK)
	if err := json.Unmarshal([]byte(e.out), &report); err != nil || report.Written != 3 || report.Left != 0 || len(report.Partitions) != 2 || report.Refusals == nil {
		t.Errorf("%+v, %v of %s", report, err, e.out)
	}
	cli(t, "", "replay", "--into", "else", "--group", "other", "--offsets", "0=0:1", "--restart").want(t, exitOK).says(t, "1 records written to else")
}

func TestReplayEndsWellOnCtrlC(t *testing.T) {
	p := newProducer(t)
	p.results("a", "b", "c", "d", "e", "f")
	run, process := spawn(t, "replay", "--into", "rebuilt", "--rate", "1")
	run.err.line(t, "0 of 6 offsets")
	for range 1000 {
		if _, err := p.client.Partitions(t.Context(), "rebuilt"); err == nil && len(p.in("rebuilt")) > 0 {
			break
		}
	}
	if err := process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	run.wait(t).want(t, exitFailed).says(t, "interrupted: ", " offsets are left; the same command goes on there")
	cli(t, "", "replay", "--into", "rebuilt").want(t, exitOK)
	if n := len(p.in("rebuilt")); n != 6 {
		t.Errorf("%d records", n)
	}
}

func TestReplayRefuses(t *testing.T) {
	newBroker(t)
	own := filepath.Join(t.TempDir(), "own.yaml")
	if err := os.WriteFile(own, []byte("kafka:\n  group: own.group\n  topics: {results: own.results, requests: own.requests}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"nothing":      {nil, exitUsage, "--into"},
		"requests":     {[]string{"--into", requestsTopic}, exitUsage, "live topic"},
		"results":      {[]string{"--into", resultsTopic}, exitUsage, "live topic"},
		"dead letters": {[]string{"--into", deadLettersTopic}, exitUsage, "live topic"},
		"ledger":       {[]string{"--into", "challenge.ledger"}, exitUsage, "live topic"},
		"positions":    {[]string{"--into", "challenge.positions"}, exitUsage, "live topic"},
		"journal":      {[]string{"--into", journalTopic}, exitUsage, "live topic"},
		"parking":      {[]string{"--into", parkingTopic}, exitUsage, "live topic"},
		"named":        {[]string{"--into", "x", "--live-topic", "x"}, exitUsage, "live topic"},
		"configured":   {[]string{"--into", "own.requests", "--config", own}, exitUsage, "live topic"},
		"overridden":   {[]string{"--into", "own.results", "--config", own, "--results-topic", "x"}, exitUsage, "live topic"},
		"by a flag":    {[]string{"--into", "x", "--requests-topic", "x"}, exitUsage, "live topic"},
		"by another":   {[]string{"--into", "x", "--dead-letters-topic", "x"}, exitUsage, "live topic"},
		"by a third":   {[]string{"--into", "x", "--results-topic", "x"}, exitUsage, "live topic"},
		"window":       {[]string{"--into", "x", "--from", "1h", "--to", "2h"}, exitUsage, "no time is"},
		"from":         {[]string{"--into", "x", "--from", "yesterday"}, exitUsage, "--from must be"},
		"to":           {[]string{"--into", "x", "--to", "-1h"}, exitUsage, "--to must be"},
		"offsets":      {[]string{"--into", "x", "--offsets", "0-1"}, exitUsage, "--offsets must be"},
		"no offsets":   {[]string{"--into", "x", "--offsets", "0=5:5"}, exitUsage, "--offsets must be"},
		"rate":         {[]string{"--into", "x", "--rate", "-1"}, exitUsage, "--rate can't be negative"},
		"arguments":    {[]string{"all"}, exitUsage, "takes no arguments"},
		"topic":        {[]string{"--into", "x", "--results-topic", "not.there"}, exitFailed, "there is no topic"},
		"beyond":       {[]string{"--into", "x", "--offsets", "0=0:5"}, exitUsage, "ends at offset 0"},
		"dry, beyond":  {[]string{"--into", "x", "--offsets", "0=0:5", "-n"}, exitUsage, "ends at offset 0"},
		"its group":    {[]string{"--into", "x", "--group", "countersign"}, exitUsage, "the group countersign is a connector's"},
		"own group":    {[]string{"--into", "x", "--group", "own.group", "--config", own}, exitUsage, "the group own.group is a connector's"},
		"not own":      {[]string{"--into", "x", "--group", "countersign", "--config", own}, exitUsage, "the group countersign is a connector's"},
	} {
		t.Run(name, func(t *testing.T) {
			cli(t, "", append([]string{"replay"}, c.args...)...).want(t, c.code).says(t, c.says)
		})
	}
}

// What a topic says by its settings, or the results by their requests, is wrong usage,
// too: nothing was done.
func TestReplayRefusesTargets(t *testing.T) {
	p := newProducer(t)
	p.results("a", "b")
	must := func(specs ...kafka.TopicSpec) {
		if err := p.client.EnsureTopics(t.Context(), specs); err != nil {
			t.Fatal(err)
		}
	}
	must(
		kafka.TopicSpec{Name: "compacted", Partitions: 2, Configs: map[string]string{"cleanup.policy": "compact"}},
		kafka.TopicSpec{Name: "append", Partitions: 2, Configs: map[string]string{"message.timestamp.type": "LogAppendTime"}},
		kafka.TopicSpec{Name: "short", Partitions: 2, Configs: map[string]string{"retention.ms": "3600000"}},
		kafka.TopicSpec{Name: "diff.requests", Partitions: 2, Configs: map[string]string{"retention.ms": "-1"}},
		kafka.TopicSpec{Name: "diff.results", Partitions: 2},
	)
	value := strings.ReplaceAll(string(resultEvent(t, "x", schemas.OutcomeSucceeded)), requestsTopic, "diff.requests")
	p.produce(kafka.Message{Topic: "diff.results", Value: []byte(value), Timestamp: someTime})
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"compacted": {[]string{"--into", "compacted"}, "compacted is compacted"},
		"append":    {[]string{"--into", "append"}, "LogAppendTime"},
		"short":     {[]string{"--into", "short"}, "Set retention.ms=-1"},
		"requests":  {[]string{"--results-topic", "diff.results", "--into", "diff.requests"}, "diff.requests is a live topic"},
	} {
		for _, dry := range []string{"--dry-run=false", "--dry-run"} {
			e := cli(t, "", append([]string{"replay", dry}, c.args...)...).want(t, exitUsage)
			if e.says(t, c.says); e.out != "" {
				t.Errorf("%s: it says it did %s", name, e.out)
			}
		}
		if n := len(p.in(c.args[len(c.args)-1])); n != 0 {
			t.Errorf("%s: %d records", name, n)
		}
	}
}

// On a terminal a bar renews itself; elsewhere lines come now and then, and at once
// where there is news.
func TestMeter(t *testing.T) {
	var lines, terminal strings.Builder
	a, b := newMeter(&lines, "offsets"), newMeter(&terminal, "offsets")
	b.terminal = true
	clock := time.Unix(0, 0)
	for _, m := range []*meter{a, b} {
		m.now = func() time.Time { return clock }
	}
	away := errors.New("away")
	for i, waiting := range []error{nil, nil, away, away, nil, nil} {
		clock = clock.Add(10 * time.Second)
		for _, m := range []*meter{a, b} {
			m.update(int64(20*i), 200, waiting)
		}
	}
	clock = clock.Add(10 * time.Second)
	a.update(200, 200, nil)
	a.end()
	b.end()
	wantLines := "0 of 200 offsets, 0 %\n40 of 200 offsets, waiting: away\n80 of 200 offsets, 40 %\n200 of 200 offsets, 100 %, 6.0 a second\n"
	if got := lines.String(); got != wantLines {
		t.Errorf("%q", got)
	}
	const renew = "\r\x1b[K"
	want := renew + "[------------------------] 0 of 200 offsets, 0 %" +
		renew + "[##----------------------] 20 of 200 offsets, 10 %, 2.0 a second, about 1m30s left" +
		renew + "40 of 200 offsets, waiting: away" + renew + "60 of 200 offsets, waiting: away" +
		renew + "[#########---------------] 80 of 200 offsets, 40 %" +
		renew + "[############------------] 100 of 200 offsets, 50 %, 2.0 a second, about 50s left\n"
	if got := terminal.String(); got != want {
		t.Errorf("%q", got)
	}
}

// What is counted may turn to something else, which begins anew.
func TestMeterTurns(t *testing.T) {
	var lines, terminal strings.Builder
	a, b := newMeter(&lines, "offsets"), newMeter(&terminal, "offsets")
	b.terminal = true
	for _, m := range []*meter{a, b} {
		m.update(300, 300, nil)
		for done := range int64(3) {
			m.turn("challenges")
			m.update(done, 2, nil)
		}
		m.end()
	}
	if got := lines.String(); got != "300 of 300 offsets, 100 %\n0 of 2 challenges, 0 %\n2 of 2 challenges, 100 %\n" {
		t.Errorf("%q", got)
	}
	const renew = "\r\x1b[K"
	want := renew + "[########################] 300 of 300 offsets, 100 %\n" + renew + "[------------------------] 0 of 2 challenges, 0 %" +
		renew + "[############------------] 1 of 2 challenges, 50 %" + renew + "[########################] 2 of 2 challenges, 100 %\n"
	if got := terminal.String(); got != want {
		t.Errorf("%q", got)
	}
}

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]span{"0=0:1": {0, 0, 1}, "12=100:2000": {12, 100, 2000}} {
		if got, ok := parseSpan(text); !ok || got != want {
			t.Errorf("%s is %+v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "0", "0=", "0=1", "=0:1", "0=1:1", "0=2:1", "-1=0:1", "0=-1:1", "0=0:x", "99999999999=0:1", "a=0:1"} {
		if got, ok := parseSpan(text); ok {
			t.Errorf("%q is taken for %+v", text, got)
		}
	}
}

func TestReplayCheck(t *testing.T) {
	p := newProducer(t)
	at := func(offset int64) schemas.Coordinates {
		return schemas.Coordinates{Topic: requestsTopic, Offset: offset, Timestamp: someTime}
	}
	first := 0
	for i, e := range []*schemas.Error{
		{Class: schemas.ClassRejected, Status: 403, Code: 60318, Message: "x"},
		{Class: schemas.ClassUnavailable, Status: 403, Code: 60318, Message: "x"},
		{Class: schemas.ClassAmbiguous, Message: "x"},
		nil,
	} {
		event := `{"version":"1.0","id":"r","operation":"create","service_sid":"` + someService + `","identity":"` + testIdentity +
			`","create":{"factor_sid":"` + someFactor + `","auth_payload":"918273"}}`
		p.produce(kafka.Message{Topic: requestsTopic, Partition: &first, Value: []byte(event), Timestamp: someTime})
		if e == nil {
			continue
		}
		r := schemas.Result{
			ID: schemas.ResultID("countersign", at(int64(i)), 0), RequestID: "r", Operation: schemas.OperationCreate, Outcome: schemas.OutcomeFailed,
			ServiceSID: someService, Identity: testIdentity, Error: e, Request: at(int64(i)), Times: schemas.Times{Received: someTime, Completed: someTime},
		}
		if e.Class == schemas.ClassRejected {
			r.Outcome = schemas.OutcomeRejected
		}
		value, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		p.produce(kafka.Message{Topic: resultsTopic, Value: value, Timestamp: someTime})
	}
	cli(t, "", "replay", "--check").want(t, exitFailed).says(t,
		"4 requests of challenge.requests\n", "       1 the same today\n", "       1 differ\n", "              1 in: outcome\n", "              1 in: class\n",
		"       1 can't be replayed\n", "              1 the call did not end", "       1 without an answer\n",
		"challenge.requests/0@1 r: failed (unavailable) for 403/60318, today rejected (rejected) for 403/60318\n")
	cli(t, "", "replay", "--check", "--offsets", "0=0:1").want(t, exitOK).says(t, "1 requests", "0 differ")
	cli(t, "", "replay", "--check", "--offsets", "0=3:4").want(t, exitFailed).says(t, "1 without an answer", "nothing could be compared\n")
	cli(t, "", "replay", "--check", "--offsets", "0=0:1", "--group", "other").want(t, exitFailed).says(t,
		"       1 without an answer\n              1 are answered by another group: --group?\nnothing could be compared\n")
	cli(t, "", "replay", "--check", "--offsets", "0=0:1", "--group", "other", "--json").want(t, exitFailed).says(t, `"another_group":1`)
	e := cli(t, "", "replay", "--check", "--json").want(t, exitFailed)
	var report replay.CheckReport
	if err := json.Unmarshal([]byte(e.out), &report); err != nil || report.Differs != 1 || len(report.Differences) != 1 || report.What[replay.WhatForm] != 0 {
		t.Errorf("%+v, %v of %s", report, err, e.out)
	}
	for name, args := range map[string][]string{
		"--into can't":    {"--check", "--into", "x"},
		"--restart can't": {"--check", "--restart"},
		"--not-after":     {"--check", "--not-after", "0s"},
		"no time is":      {"--check", "--from", "1h", "--to", "2h"},
		"the same topic":  {"--check", "--results-topic", requestsTopic},
	} {
		cli(t, "", append([]string{"replay"}, args...)...).want(t, exitUsage).says(t, name)
	}
	cli(t, "", "replay", "--check", "--requests-topic", "absent").want(t, exitFailed).says(t, "there is no topic")
}

// The rest of a check is said as flags, also where brokers end it.
func TestReplayCheckSaysTheRest(t *testing.T) {
	part := func(partition int, from, next, to int64) replay.PartitionReport {
		return replay.PartitionReport{Span: replay.Span{Partition: partition, From: from, To: to}, Next: next}
	}
	some := replay.CheckReport{Requests: 7, Same: 7, Partitions: []replay.PartitionReport{part(0, 0, 4, 9), part(2, 5, 5, 5), part(11, 3, 6, 6), part(12, 0, 0, 1)}}
	interrupted := &replay.Error{Code: replay.CodeInterrupted, Err: errors.New("x")}
	lost := &replay.Error{Code: replay.CodeKafka, Err: &kafka.Error{Code: kafka.CodeUnavailable, Op: "fetch", Err: errors.New("x")}}
	const rest = "7 requests were compared; the rest, with some of them again, is --offsets 0=4:9 --offsets 12=0:1"
	for name, c := range map[string]struct {
		report replay.CheckReport
		err    error
		says   string
	}{
		"interrupted":         {some, interrupted, "interrupted: " + rest},
		"before it began":     {replay.CheckReport{}, interrupted, "interrupted: 0 requests were compared"},
		"lost":                {some, lost, rest + ": "},
		"lost from the start": {replay.CheckReport{}, lost, ""},
	} {
		if err := endOfCheck(c.report, c.err); err == nil || !strings.HasPrefix(err.Error(), c.says) || c.err == interrupted && err.Error() != c.says { //nolint:errorlint // made by us
			t.Errorf("%s: %v", name, err)
		}
	}
}
