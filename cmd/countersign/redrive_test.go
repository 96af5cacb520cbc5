package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/connector/redrive"
	"github.com/countersign/countersign/schemas"
)

// setAside writes a dead letter of a create, with a payload that nobody may see.
func (p *producer) setAside(id string, change func(d *schemas.DeadLetter)) {
	p.t.Helper()
	event := `{"version":"1.0","id":"` + id + `","operation":"create","service_sid":"` + someService + `","identity":"` + testIdentity +
		`","create":{"factor_sid":"` + someFactor + `","auth_payload":"918273"}}`
	d := schemas.DeadLetter{
		Class: schemas.ClassThrottled, Code: 20429, RequestID: id, Redrivable: true, HasResult: true, At: time.Now(),
		Coordinates: schemas.Coordinates{Topic: requestsTopic, Partition: 1, Offset: int64(len(id)), Timestamp: someTime},
	}
	if change != nil {
		change(&d)
	}
	if !d.Redrivable {
		event = "sha256:" + strings.Repeat("0f", 32)
	}
	p.produce(kafka.Message{Topic: deadLettersTopic, Key: []byte("key-of-" + id), Value: []byte(event), Headers: d.Headers()})
}

func (p *producer) sent() []kafka.Record {
	p.t.Helper()
	return (&stack{client: p.client}).records(p.t, requestsTopic)
}

func TestRedrive(t *testing.T) {
	p := newProducer(t)
	p.setAside("one", nil)
	p.setAside("doubt", func(d *schemas.DeadLetter) { d.Class, d.Code, d.Attempts = schemas.ClassAmbiguous, 0, 1 })
	p.setAside("old", func(d *schemas.DeadLetter) { d.Redrives = 5 })
	p.setAside("hash", func(d *schemas.DeadLetter) { d.Class, d.Redrivable = schemas.ClassTooLarge, false })
	says := func(e ended, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(e.out, text) {
				t.Errorf("no %q in\n%s", text, e.out)
			}
		}
		for _, secret := range []string{"918273", testIdentity, "key-of-"} {
			if strings.Contains(e.out+e.err, secret) {
				t.Errorf("it shows %s:\n%s%s", secret, e.out, e.err)
			}
		}
	}
	says(cli(t, "", "redrive", "--dry-run").want(t, exitOK),
		"4 dead letters in challenge.deadletters, 4 picked by the filters\n",
		"     2 would be redriven to challenge.requests, in about 1s at 10 a second\n",
		"     1 create ambiguous, 1 looked up first\n", "     1 create throttled\n",
		"     1 would be parked in challenge.parked: redriven 5 times or more\n",
		"     1 not redriven: too large to keep: only a hash of the record is left\n",
		"         challenge.deadletters/0@3 hash: the record was too large to keep, only its hash is left\n",
		"calls, at most and without retries: 2 creates (billed), 0 updates, 0 fetches, 0 lists\n",
		"look-ups for 1 requests", "dry run: nothing was sent\n",
	)
	if n := len(p.sent()); n > 0 {
		t.Fatalf("a dry run sent %d requests", n)
	}
	says(cli(t, "", "redrive", "--class", "throttled", "--max", "1").want(t, exitOK),
		"2 picked by the filters", "     1 redriven to challenge.requests\n", "     1 left for later: --max 1\n")
	e := cli(t, "", "redrive").want(t, exitOK)
	says(e, "     1 redriven or parked before\n", "     1 redriven to challenge.requests\n", "     1 parked in challenge.parked")
	if !strings.HasPrefix(e.err, "0 of 2 redriven or parked\n") {
		t.Errorf("progress %q", e.err)
	}
	got := p.sent()
	if len(got) != 2 {
		t.Fatalf("%d requests were sent", len(got))
	}
	for _, rec := range got {
		again, faults := schemas.DecodeRedrive(rec.Headers)
		if again.Redrives != 1 || again.NotAfter == nil || len(faults) > 0 {
			t.Errorf("%+v %v", again, faults)
		}
	}
	e = cli(t, "", "redrive", "--json").want(t, exitOK)
	var report struct {
		DryRun   bool             `json:"dry_run"`
		Already  int              `json:"already"`
		Redriven []redrive.Tally  `json:"redriven"`
		Refused  map[string]int   `json:"refused"`
		Refusals []map[string]any `json:"refusals"`
	}
	if err := json.Unmarshal([]byte(e.out), &report); err != nil || report.DryRun || report.Already != 3 || report.Redriven == nil ||
		len(report.Redriven) != 0 || report.Refused["hash_only"] != 1 || len(report.Refusals) != 1 {
		t.Errorf("%+v, %v of %s", report, err, e.out)
	}
}

func TestRedriveEndsWellOnCtrlC(t *testing.T) {
	p := newProducer(t)
	for _, id := range []string{"a", "bb", "ccc", "dddd"} {
		p.setAside(id, nil)
	}
	run, process := spawn(t, "redrive", "--rate", "0.5")
	run.err.line(t, "0 of 4 redriven or parked")
	for range 1000 {
		if len(p.sent()) > 0 {
			break
		}
	}
	if err := process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	e := run.wait(t).want(t, exitFailed)
	if !strings.Contains(e.err, "of 4 were redriven or parked; the same command goes on behind them") || !strings.Contains(e.out, " of 4 planned were done") {
		t.Errorf("it said\n%s%s", e.out, e.err)
	}
	cli(t, "", "redrive", "--rate", "0").want(t, exitOK)
	if n := len(p.sent()); n != 4 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestRedriveRefuses(t *testing.T) {
	newBroker(t)
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"class":     {[]string{"--class", "odd"}, exitUsage, "--class must be one of invalid version rejected"},
		"code":      {[]string{"--code", "x"}, exitUsage, `"--code"`},
		"code < 0":  {[]string{"--code", "-1"}, exitUsage, "--code can't be negative"},
		"since":     {[]string{"--since", "yesterday"}, exitUsage, "--since must be"},
		"until":     {[]string{"--until", "-5m"}, exitUsage, "--until must be"},
		"no time":   {[]string{"--since", "5m", "--until", "10m"}, exitUsage, "no time is since"},
		"no rate":   {[]string{"--rate", "NaN"}, exitUsage, "the rate must be 0, or from 0.001"},
		"rate":      {[]string{"--rate", "-1"}, exitUsage, "--rate can't be negative"},
		"max":       {[]string{"--max", "-1"}, exitUsage, "--max can't be negative"},
		"parking":   {[]string{"--park-after", "-1"}, exitUsage, "--park-after can't be negative"},
		"deadline":  {[]string{"--not-after", "-1s"}, exitUsage, "--not-after can't be negative"},
		"all":       {[]string{"--rate", "-1", "--max", "-1"}, exitUsage, "--rate can't be negative"},
		"topics":    {[]string{"--parking-topic", deadLettersTopic}, exitUsage, "can't be the same topic"},
		"group":     {[]string{"--group", ""}, exitUsage, "--group"},
		"arguments": {[]string{"all"}, exitUsage, "takes no arguments"},
		"topic":     {[]string{"--dead-letters-topic", "not.there"}, exitFailed, "there is no topic"},
		"journal":   {[]string{"--journal-topic", resultsTopic}, exitFailed, "must have one partition"},
	} {
		t.Run(name, func(t *testing.T) {
			if e := cli(t, "", append([]string{"redrive"}, c.args...)...).want(t, c.code); !strings.Contains(e.err, c.says) {
				t.Errorf("no %q in %q", c.says, e.err)
			}
		})
	}
}

// On a terminal one line renews itself; elsewhere lines come now and then.
func TestRedriveProgress(t *testing.T) {
	var lines, terminal strings.Builder
	a, b := newProgress(&lines), newProgress(&terminal)
	b.terminal = true
	for i := range 3 {
		a.update(redrive.Progress{Planned: 2, Done: i})
		b.update(redrive.Progress{Planned: 2, Done: i})
	}
	a.end()
	b.end()
	if got := lines.String(); got != "0 of 2 redriven or parked\n" {
		t.Errorf("%q", got)
	}
	const renew = "\r\x1b[K"
	if got := terminal.String(); got != renew+"0 of 2 redriven or parked"+renew+"1 of 2 redriven or parked"+renew+"2 of 2 redriven or parked\n" {
		t.Errorf("%q", got)
	}
}
