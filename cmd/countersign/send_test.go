package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

const (
	someService   = "VA00000000000000000000000000000001"
	someFactor    = "YF00000000000000000000000000000001"
	someChallenge = "YC00000000000000000000000000000001"
)

// topicOf reads a whole topic of a broker.
func topicOf(t *testing.T, addrs []string, topic string) []kafka.Record {
	t.Helper()
	client, err := kafka.NewClient(kafka.Config{Brokers: addrs})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	return (&stack{client: client}).records(t, topic)
}

// fetchEvent is a valid request.
func fetchEvent(id, identity string) string {
	return fmt.Sprintf(`{"version":"1.0","id":%q,"operation":"fetch","service_sid":%q,"identity":%q,"challenge_sid":%q}`,
		id, someService, identity, someChallenge)
}

func TestSendFlagsMakeRequests(t *testing.T) {
	b := newBroker(t)
	base := []string{"send", "--service-sid", someService, "--identity", testIdentity}
	page := 3
	for name, c := range map[string]struct {
		args []string
		want schemas.Request
	}{
		"create": {
			[]string{
				"--operation", "create", "--id", "c1", "--account", "main", "--factor-sid", someFactor, "--message", "Sign in?",
				"--field", "From=A=B", "--field", "At=", "--hidden", "k=v=w", "--auth-payload", "123456",
			},
			schemas.Request{ID: "c1", Operation: schemas.OperationCreate, Account: "main", Create: &schemas.Create{
				FactorSID: someFactor, AuthPayload: "123456", HiddenDetails: map[string]string{"k": "v=w"},
				Details: &schemas.Details{Message: "Sign in?", Fields: []schemas.Field{{Label: "From", Value: "A=B"}, {Label: "At"}}},
			}},
		},
		"fetch": {
			[]string{"--operation", "fetch", "--id", "f1", "--challenge-sid", someChallenge},
			schemas.Request{ID: "f1", Operation: schemas.OperationFetch, ChallengeSID: someChallenge},
		},
		"update": {
			[]string{"--operation", "update", "--id", "u1", "--challenge-sid", someChallenge, "--auth-payload-file", "-", "--metadata", "a=b"},
			schemas.Request{
				ID: "u1", Operation: schemas.OperationUpdate, ChallengeSID: someChallenge,
				Update: &schemas.Update{AuthPayload: "654321", Metadata: map[string]string{"a": "b"}},
			},
		},
		"list": {
			[]string{
				"--operation", "list", "--id", "l1", "--factor-sid", someFactor, "--status", "pending", "--order", "desc",
				"--page-size", "20", "--page", "3", "--page-token", "x", "--limit", "7",
			},
			schemas.Request{ID: "l1", Operation: schemas.OperationList, List: &schemas.List{
				FactorSID: someFactor, Status: "pending", Order: "desc", PageSize: 20, Page: &page, PageToken: "x", Limit: 7,
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := cli(t, "654321\n", append(slices.Clone(base), c.args...)...).want(t, exitOK)
			if e.out != "sent "+c.want.ID+"\n" {
				t.Errorf("it printed %q", e.out)
			}
			c.want.ServiceSID, c.want.Identity = someService, testIdentity
			want, err := c.want.Encode()
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range topicOf(t, b.Addrs(), requestsTopic) {
				if string(rec.Value) == string(want) && string(rec.Key) == testIdentity {
					return
				}
			}
			t.Errorf("no record has the value %s", want)
		})
	}
}

func TestSendFlagsMakeIDsAndTimes(t *testing.T) {
	b := newBroker(t)
	before := time.Now()
	for range 2 {
		cli(t, "", "send", "--operation", "create", "--service-sid", someService, "--identity", testIdentity, "--factor-sid", someFactor,
			"--not-after", "2m", "--expires", "2999-01-01T00:00:00+01:00", "--message", "x").want(t, exitUsage) // too far ahead
		cli(t, "", "send", "--operation", "create", "--service-sid", someService, "--identity", testIdentity, "--factor-sid", someFactor,
			"--not-after", "2m", "--expires", "10m").want(t, exitOK)
	}
	after := time.Now()
	ids := map[string]bool{}
	for _, rec := range topicOf(t, b.Addrs(), requestsTopic) {
		req, _, err := schemas.DecodeRequest(rec.Value)
		if err != nil {
			t.Fatal(err)
		}
		ids[req.ID] = true
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(req.ID) {
			t.Errorf("id %q", req.ID)
		}
		for _, m := range []struct {
			at  *time.Time
			ago time.Duration
		}{{req.NotAfter, 2 * time.Minute}, {req.Create.ExpirationDate, 10 * time.Minute}} {
			if m.at.Before(before.Add(m.ago-time.Second)) || m.at.After(after.Add(m.ago)) {
				t.Errorf("%v is not %v from now", m.at, m.ago)
			}
		}
	}
	if len(ids) != 2 {
		t.Errorf("ids %v", ids)
	}
}

func TestSendFilesInOrder(t *testing.T) {
	b := newBroker(t)
	one := writeFile(t, "one.json", "{\n"+strings.TrimPrefix(fetchEvent("one", testIdentity), "{")+"\n")
	lines := writeFile(t, "lines.jsonl", fetchEvent("two", testIdentity)+"\n\n"+fetchEvent("three", testIdentity)+"\n")
	e := cli(t, fetchEvent("four", testIdentity), "send", "--rate", "1000", one, lines, "-").want(t, exitOK)
	if e.out != "sent one\nsent two\nsent three\nsent four\n" {
		t.Errorf("it printed %q", e.out)
	}
	var ids []string
	partitions := map[int]bool{}
	for _, rec := range topicOf(t, b.Addrs(), requestsTopic) {
		req, _, err := schemas.DecodeRequest(rec.Value)
		if err != nil {
			t.Fatal(err)
		}
		ids, partitions[rec.Partition] = append(ids, req.ID), true
	}
	if !slices.Equal(ids, []string{"one", "two", "three", "four"}) || len(partitions) != 1 {
		t.Errorf("ids %q in partitions %v", ids, partitions)
	}
}

func TestSendKeepsEverythingBackForOneFault(t *testing.T) {
	b := newBroker(t)
	file := writeFile(t, "a.jsonl", fetchEvent("fine", testIdentity)+"\n"+
		strings.Replace(fetchEvent("warned", testIdentity), `"version"`, `"servce_sid":1,"version"`, 1)+"\n"+
		`{"version":"1.0","id":"bad","operation":"update","service_sid":"VA","identity":"x","challenge_sid":"`+someChallenge+
		`","update":{"auth_payload":"~q"}}`+"\nnot json\n")
	e := cli(t, "", "send", file).want(t, exitFailed)
	for _, says := range []string{
		file + ":2: warning: $.servce_sid", file + ":3: $.service_sid ", file + ":3: $.identity ", file + ":3: $.update.auth_payload ",
		file + ":4: $ ", "nothing was sent: 2 of 4 events have faults",
	} {
		if !strings.Contains(e.err, says) {
			t.Errorf("no %q in %s", says, e.err)
		}
	}
	if strings.Contains(e.err, "~q") { // no path of a temporary folder has that
		t.Errorf("the payload is shown: %s", e.err)
	}
	if records := topicOf(t, b.Addrs(), requestsTopic); len(records) != 0 || e.out != "" {
		t.Errorf("%d records were sent", len(records))
	}
}

func TestSendWithoutValidation(t *testing.T) {
	b := newBroker(t)
	lines := []string{`{"id":"loose","identity":"` + testIdentity + `"}`, "not json", `[1]`}
	e := cli(t, strings.Join(lines, "\n"), "send", "--no-validate", "-").want(t, exitOK)
	if e.out != "sent loose\nsent stdin:2 (no usable id)\nsent stdin:3 (no usable id)\n" {
		t.Errorf("it printed %q", e.out)
	}
	keys := map[string]string{}
	for _, rec := range topicOf(t, b.Addrs(), requestsTopic) {
		keys[string(rec.Value)] = string(rec.Key)
	}
	if len(keys) != 3 || keys[lines[0]] != testIdentity || keys["not json"] != "" {
		t.Errorf("keys by value: %q", keys)
	}
}

func TestSendKeyAndTopic(t *testing.T) {
	b := newBroker(t)
	cli(t, fetchEvent("a", testIdentity), "send", "--key", "mine", "--topic", deadLettersTopic, "-").want(t, exitOK)
	records := topicOf(t, b.Addrs(), deadLettersTopic)
	if len(records) != 1 || string(records[0].Key) != "mine" {
		t.Errorf("%+v", records)
	}
}

func TestSendTellsWhatKafkaRefuses(t *testing.T) {
	b := newBroker(t)
	big := `{"id":"big","x":"` + strings.Repeat("x", kafka.MaxMessageBytes) + `"}`
	e := cli(t, fetchEvent("a", testIdentity)+"\n"+big+"\n"+fetchEvent("b", testIdentity), "send", "--no-validate", "-").want(t, exitFailed)
	if e.out != "sent a\nsent b\n" || !strings.Contains(e.err, "for good: 1 of 3 events: [stdin:2 (no usable id)]") {
		t.Errorf("out %q, err %q", e.out, e.err)
	}
	if records := topicOf(t, b.Addrs(), requestsTopic); len(records) != 2 {
		t.Errorf("%d records", len(records))
	}
}

func TestSendWaitNeedsItsTopicFirst(t *testing.T) {
	b := newBroker(t)
	e := cli(t, fetchEvent("a", testIdentity), "send", "--wait", "--results-topic", "not.there", "-").want(t, exitFailed)
	if !strings.Contains(e.err, "there is no topic not.there") || len(topicOf(t, b.Addrs(), requestsTopic)) != 0 {
		t.Errorf("err %q", e.err)
	}
}

func TestSendToNoTopic(t *testing.T) {
	newBroker(t)
	e := cli(t, fetchEvent("a", testIdentity), "send", "--topic", "not.there", "-").want(t, exitFailed)
	if !strings.Contains(e.err, "there is no topic not.there") || e.out != "" {
		t.Errorf("out %q, err %q", e.out, e.err)
	}
}

func TestSendStopsWaiting(t *testing.T) {
	newBroker(t)
	e := cli(t, fetchEvent("a", testIdentity), "send", "--wait", "--wait-timeout", "1ms", "-").want(t, exitFailed)
	if e.out != "sent a\n" || !strings.Contains(e.err, "1 of 1 results did not come") {
		t.Errorf("out %q, err %q", e.out, e.err)
	}
}

func TestSendRefuses(t *testing.T) {
	create := []string{"--operation", "create", "--service-sid", someService, "--identity", testIdentity, "--factor-sid", someFactor}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"nothing":         {nil, "nothing to send"},
		"flags and files": {append([]string{"a.jsonl"}, create...), "exclude each other"},
		"stdin twice":     {[]string{"-", "-"}, "stdin can be read once"},
		"unchecked flags": {append([]string{"--no-validate"}, create...), "--no-validate is for files"},
		"another's flag":  {append([]string{"--challenge-sid", someChallenge, "--limit", "3"}, create...), "--challenge-sid is not for operation create\n--limit is not"},
		"two payloads":    {append([]string{"--auth-payload", "1234", "--auth-payload-file", "-"}, create...), "exclude each other"},
		"no operation":    {[]string{"--identity", testIdentity}, "$.operation"},
		"every fault":     {[]string{"--operation", "create", "--identity", "x"}, "$.create.factor_sid"},
		"no value":        {append([]string{"--field", "x", "--hidden", "y"}, create...), "--field must be label=value\n--hidden must be key=value"},
		"key twice":       {append([]string{"--hidden", "a=1", "--hidden", "a=2"}, create...), "each key once"},
		"not a time":      {append([]string{"--not-after", "soon"}, create...), "--not-after must be"},
		"rate":            {[]string{"--rate", "-1", "-"}, "can't be negative"},
		"wait's own flag": {[]string{"--wait-timeout", "1s", "-"}, "belong to --wait"},
		"broker":          {[]string{"--brokers", "nowhere", "-"}, "brokers"},
	} {
		t.Run(name, func(t *testing.T) {
			e := cli(t, fetchEvent("a", testIdentity), append([]string{"send"}, c.args...)...).want(t, exitUsage)
			if !strings.Contains(e.err, c.says) {
				t.Errorf("no %q in %q", c.says, e.err)
			}
		})
	}
	e := cli(t, fetchEvent("a", testIdentity), "send", "--brokers", "127.0.0.1:1", "-").want(t, exitFailed)
	if !strings.Contains(e.err, "no answer from Kafka: --brokers says") || !strings.Contains(e.err, "nothing was sent") {
		t.Errorf("%q", e.err)
	}
	cli(t, "", "send", "nowhere.jsonl").want(t, exitFailed)
	cli(t, "\n\n", "send", "-").want(t, exitFailed)
}

func TestSucceeded(t *testing.T) {
	for outcome, want := range map[schemas.Outcome]bool{
		schemas.OutcomeSucceeded: true, schemas.OutcomeAdopted: true, schemas.OutcomeDuplicate: true,
		schemas.OutcomeRejected: false, schemas.OutcomeExpired: false, schemas.OutcomeFailed: false,
	} {
		if succeeded(outcome) != want {
			t.Errorf("%s", outcome)
		}
	}
}

// pairs and moment report each fault and go on.
func TestFlagValuesReportFaults(t *testing.T) {
	var got []error
	fault := func(format string, args ...any) { got = append(got, fmt.Errorf(format, args...)) }
	pairs("x", []string{"a", "=b", "c=d", "c=e"}, fault)
	moment("y", "never", time.Now(), fault)
	if len(got) != 4 || errors.Join(got...).Error() == "" {
		t.Errorf("%v", got)
	}
}
