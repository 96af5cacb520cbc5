package redrive

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

var now = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

func header(key, value string) schemas.Header { return schemas.Header{Key: key, Value: []byte(value)} }

const (
	createEvent = `{"version":"1.0","id":"a","operation":"create","service_sid":"` + service + `","identity":"` + identity + `","create":{"factor_sid":"` + factor + `"}}`
	updateEvent = `{"version":"1.0","id":"a","operation":"update","service_sid":"` + service + `","identity":"` + identity + `","challenge_sid":"` + sid + `","update":{}}`
	fetchEvent  = `{"version":"1.0","id":"a","operation":"fetch","service_sid":"` + service + `","identity":"` + identity + `","challenge_sid":"` + sid + `"}`
	newerEvent  = `{"version":"2.0","id":"a","operation":"create","shape":"unknown"}`
)

func expiring(at string) string {
	return strings.Replace(createEvent, `"create":{`, `"create":{"expiration_date":"`+at+`",`, 1)
}

// dead is a dead letter's record as change has it.
func dead(value string, change func(d *schemas.DeadLetter), own ...schemas.Header) kafka.Record {
	d := &schemas.DeadLetter{
		Class: schemas.ClassThrottled, Code: 20429, RequestID: "a", Redrivable: true, At: now.Add(-time.Hour),
		Coordinates: schemas.Coordinates{Topic: "requests", Partition: 3, Offset: 41, Timestamp: now.Add(-2 * time.Hour)},
	}
	if change != nil {
		change(d)
	}
	return kafka.Record{Topic: "dead", Partition: 1, Offset: 7, Key: []byte("k"), Value: []byte(value), Headers: append(own, d.Headers()...)}
}

func newJob(change func(c *Config)) *job {
	j := &job{cfg: config(), partitions: 4, journal: &journal{marks: marks{}}}
	if change != nil {
		change(&j.cfg)
	}
	return j
}

func TestJudge(t *testing.T) {
	hash := "sha256:" + strings.Repeat("0f", 32)
	kept := func(d *schemas.DeadLetter) { d.Redrivable = false }
	all := func(c *Config) { c.NotRedrivable = true }
	for name, c := range map[string]struct {
		rec    kafka.Record
		change func(c *Config)
		want   verdict
		reason Reason
	}{
		"plain":                        {dead(createEvent, nil), nil, verdictRedrive, ""},
		"a later release's":            {dead(newerEvent, nil), nil, verdictRedrive, ""},
		"no dead letter":               {kafka.Record{Value: []byte(createEvent)}, nil, verdictRefused, ReasonUnreadable},
		"not redrivable":               {dead(createEvent, kept), nil, verdictRefused, ReasonNotRedrivable},
		"not redrivable, asked for":    {dead(createEvent, kept), all, verdictRedrive, ""},
		"only a hash":                  {dead(hash, kept), nil, verdictRefused, ReasonHashOnly},
		"only a hash, asked for":       {dead(hash, kept), all, verdictRefused, ReasonHashOnly},
		"a text like a hash":           {dead("sha256:00", kept), all, verdictRedrive, ""},
		"another topic's":              {dead(createEvent, func(d *schemas.DeadLetter) { d.Topic = "else" }), nil, verdictRefused, ReasonForeign},
		"expired":                      {dead(expiring("2026-01-02T15:04:05Z"), nil), nil, verdictRefused, ReasonOutdated},
		"not expired":                  {dead(expiring("2026-01-02T15:04:06Z"), nil), nil, verdictRedrive, ""},
		"redriven four times":          {dead(createEvent, func(d *schemas.DeadLetter) { d.Redrives = 4 }), nil, verdictRedrive, ""},
		"redriven five times":          {dead(createEvent, func(d *schemas.DeadLetter) { d.Redrives = 5 }), nil, verdictPark, ""},
		"redriven five times, expired": {dead(expiring("2026-01-02T15:04:05Z"), func(d *schemas.DeadLetter) { d.Redrives = 5 }), nil, verdictPark, ""},
		"never parked":                 {dead(createEvent, func(d *schemas.DeadLetter) { d.Redrives = 5 }), func(c *Config) { c.ParkAfter = 0 }, verdictRedrive, ""},
	} {
		l := newJob(c.change).judge(c.rec, marks{}, now)
		if l.verdict != c.want || l.reason != c.reason || (l.why == "") != (c.reason == "") {
			t.Errorf("%s: %d %s %q, want %d %s", name, l.verdict, l.reason, l.why, c.want, c.reason)
		}
	}
}

func TestFilter(t *testing.T) {
	at := now.Add(-time.Hour)
	for name, c := range map[string]struct {
		filter Filter
		want   bool
	}{
		"none":             {Filter{}, true},
		"class":            {Filter{Classes: []schemas.Class{schemas.ClassThrottled}}, true},
		"one of":           {Filter{Classes: []schemas.Class{schemas.ClassAmbiguous, schemas.ClassThrottled}}, true},
		"another class":    {Filter{Classes: []schemas.Class{schemas.ClassAmbiguous}}, false},
		"code":             {Filter{Codes: []int{1, 20429}}, true},
		"another code":     {Filter{Codes: []int{0}}, false},
		"since":            {Filter{Since: at}, true},
		"since later":      {Filter{Since: at.Add(1)}, false},
		"until":            {Filter{Until: at.Add(1)}, true},
		"until just then":  {Filter{Until: at}, false},
		"key":              {Filter{Keys: []string{"x", "k"}}, true},
		"another key":      {Filter{Keys: []string{"x"}}, false},
		"id":               {Filter{IDs: []string{"a"}}, true},
		"another id":       {Filter{IDs: []string{"b"}}, false},
		"two agree":        {Filter{IDs: []string{"a"}, Keys: []string{"k"}}, true},
		"one of two fails": {Filter{IDs: []string{"a"}, Keys: []string{"x"}}, false},
	} {
		l := newJob(func(cfg *Config) { cfg.Filter = c.filter }).judge(dead(createEvent, nil), marks{}, now)
		if (l.verdict == verdictRedrive) != c.want {
			t.Errorf("%s: %d", name, l.verdict)
		}
	}
}

func TestLookSince(t *testing.T) {
	record := now.Add(-2 * time.Hour) // the dead letter's timestamp
	first := record.Add(-time.Hour)
	redriven := schemas.Redrive{Redrives: 1, LookSince: &first}.Headers()
	later := record.Add(time.Minute)
	ambiguous := func(d *schemas.DeadLetter) { d.Class = schemas.ClassAmbiguous }
	called := func(d *schemas.DeadLetter) { d.Attempts = 1 }
	for name, c := range map[string]struct {
		rec  kafka.Record
		want *time.Time
	}{
		"never called":             {dead(createEvent, nil), nil},
		"ambiguous create":         {dead(createEvent, ambiguous), &record},
		"called create":            {dead(createEvent, called), &record},
		"called update":            {dead(updateEvent, called), &record},
		"called fetch":             {dead(fetchEvent, called), nil},
		"ambiguous fetch":          {dead(fetchEvent, ambiguous), nil},
		"unreadable, called":       {dead(`{`, called), &record},
		"redriven and called":      {dead(createEvent, called, redriven...), &first},
		"redriven, not called now": {dead(createEvent, nil, redriven...), &first},
		"a look-since from ahead":  {dead(createEvent, called, schemas.Redrive{Redrives: 1, LookSince: &later}.Headers()...), &record},
		"faulty headers":           {dead(createEvent, called, header(schemas.HeaderLookSince, "soon")), &record},
	} {
		l := newJob(nil).judge(c.rec, marks{}, now)
		if l.verdict != verdictRedrive || (l.lookSince == nil) != (c.want == nil) || c.want != nil && !l.lookSince.Equal(*c.want) {
			t.Errorf("%s: %d, %v, want %v", name, l.verdict, l.lookSince, c.want)
		}
	}
}

func TestMessage(t *testing.T) {
	j := newJob(nil)
	own := []schemas.Header{header("tenant", "a"), header("countersign-tenant", "x"), header("", "b"), header("tenant", "c")}
	l := j.judge(dead(createEvent, nil, own...), marks{}, now)
	m := j.message(l, now)
	if m.Topic != "requests" || string(m.Key) != "k" || string(m.Value) != createEvent || m.Partition == nil || *m.Partition != 3 {
		t.Errorf("%+v", m)
	}
	keys := ""
	for _, h := range m.Headers {
		keys += h.Key + "=" + string(h.Value) + "\n"
	}
	if want := "tenant=a\n=b\ntenant=c\ncountersign-redrives=1\ncountersign-not-after=2026-01-02T15:09:05Z\n"; keys != want {
		t.Errorf("headers\n%swant\n%s", keys, want)
	}
	j.partitions = 3 // fewer than there were: the key decides
	if m := j.message(l, now); m.Partition != nil {
		t.Errorf("partition %d of 3", *m.Partition)
	}
	j.cfg.NotAfter = 0
	if again, faults := schemas.DecodeRedrive(j.message(l, now).Headers); again.NotAfter != nil || again.Redrives != 1 || len(faults) > 0 {
		t.Errorf("%+v %v", again, faults)
	}
}

// Whatever a record carries, redriving it leaves its own headers as they were,
// and counts up.
func TestMessageKeepsForeignHeaders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var own []schemas.Header
		for range rapid.IntRange(0, 6).Draw(t, "headers") {
			own = append(own, header(rapid.SampledFrom([]string{"a", "b", "countersign", "Countersign-class", ""}).Draw(t, "key"), rapid.String().Draw(t, "value")))
		}
		n := rapid.IntRange(0, 4).Draw(t, "redrives")
		j := newJob(nil)
		l := j.judge(dead(createEvent, func(d *schemas.DeadLetter) { d.Redrives = n }, own...), marks{}, now)
		got := j.message(l, now).Headers
		again, faults := schemas.DecodeRedrive(got)
		if again.Redrives != n+1 || len(faults) > 0 || len(got) != len(own)+2 {
			t.Fatalf("%+v %v %q", again, faults, got)
		}
		for i, h := range own {
			if got[i].Key != h.Key || string(got[i].Value) != string(h.Value) {
				t.Fatalf("%q became %q", own, got)
			}
		}
	})
}

func TestMarksTellLettersApart(t *testing.T) {
	base := dead(createEvent, nil)
	of := func(rec kafka.Record) mark {
		d, _, err := schemas.DecodeDeadLetter(rec.Headers)
		if err != nil {
			t.Fatal(err)
		}
		return markOf(rec, d)
	}
	moved := base
	moved.Partition, moved.Offset = 0, 99
	if of(moved) != of(base) {
		t.Error("the same letter at another offset is another")
	}
	if of(dead(createEvent, func(d *schemas.DeadLetter) { d.At = now })) != of(base) {
		t.Error("the same letter published later is another")
	}
	parked := base
	parked.Topic = "parked"
	for name, other := range map[string]kafka.Record{
		"parked":    parked,
		"offset":    dead(createEvent, func(d *schemas.DeadLetter) { d.Offset++ }),
		"partition": dead(createEvent, func(d *schemas.DeadLetter) { d.Partition++ }),
		"time":      dead(createEvent, func(d *schemas.DeadLetter) { d.Timestamp = now }),
		"value":     dead(fetchEvent, nil),
	} {
		if of(other) == of(base) {
			t.Errorf("%s: taken for the same letter", name)
		}
	}
}
