package interop

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/connector/audit"
	ours "github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/secret"
	"github.com/countersign/countersign/schemas"
)

// Exit codes of the verifier.
const (
	isSo = iota
	differs
	cannotRun
)

// TestVerifierOfOthers: a program that goes by the documents and shares no code, in
// another language and with another Kafka client, makes the digests of our reports
// again and checks their signatures. It says so where a report, its signature or any
// part of a record is another, and where: the topics are made anew for that, with
// every record at its offset.
func TestVerifierOfOthers(t *testing.T) {
	w := newWorld(t)
	since := time.Now()
	v := w.verifier()
	v.originals = w.eventful()
	begin, end := since.Add(-time.Hour), time.Now()
	v.until = end.Add(time.Hour).Truncate(time.Millisecond)
	for name, cfg := range map[string]audit.Config{
		"all":           {},
		"by time":       {From: begin, To: end},
		"answers until": {From: begin, To: end, AnswersUntil: v.until},
		"by offsets":    {Offsets: []audit.OffsetSpan{{Partition: 0, From: 3, To: 40}, {Partition: 2, From: 0, To: 30}}},
		"nothing":       {From: begin.Add(-time.Hour), To: begin},
	} {
		v.report(name, cfg)
		v.windows = append(v.windows, name)
		v.says(isSo, name, "as the report says")
	}
	all, err := os.ReadFile(filepath.Join(v.dir, "all.json"))
	must(t, err)
	t.Run("another report", func(t *testing.T) { v.at(t).otherReports(all) })
	t.Run("another window", func(t *testing.T) { v.at(t).otherWindows() })
	t.Run("another window's form", func(t *testing.T) { v.at(t).contradictions() })
	t.Run("more records", func(t *testing.T) { v.at(t).moreRecords() })
	t.Run("other records", func(t *testing.T) { v.at(t).otherRecords() })
}

// eventful has the connector answer requests of every kind: many, so that blocks hold
// several records; a list in several results; rejected and repeated ones; some with
// nothing where a client may leave something out; and some that only a dead letter
// answers. One is never committed.
func (w *world) eventful() (topics map[string][]*kgo.Record) {
	const creates = 300
	stop := w.run()
	f := w.factors[0]
	var records []*kgo.Record
	add := func(r *kgo.Record) {
		r.Topic = w.topics.Requests
		records = append(records, r)
	}
	for i := range creates {
		req := schemas.Request{
			ID: fmt.Sprintf("heavy-%04d", i), Operation: schemas.OperationCreate, ServiceSID: f.ServiceSID, Identity: f.Identity,
			Create: &schemas.Create{
				FactorSID: f.SID, Details: &schemas.Details{Message: "Sign in?"},
				HiddenDetails: map[string]string{"filler": strings.Repeat("x", 800)},
			},
		}
		for range 20 {
			req.Create.Details.Fields = append(req.Create.Details.Fields, schemas.Field{Label: strings.Repeat("l", 36), Value: strings.Repeat("v", 128)})
		}
		r := &kgo.Record{Key: fmt.Appendf(nil, "key-%d", i), Value: w.encoded(req), Headers: []kgo.RecordHeader{
			{Key: "tenant", Value: []byte("first")}, {Key: "", Value: []byte{0xff, 0}}, {Key: "tenant", Value: []byte("second")}, {Key: "null"}, {Key: "empty", Value: []byte{}},
		}}
		if i%10 == 0 {
			r.Key, r.Headers = nil, nil
		}
		if i%10 == 1 {
			r.Key = []byte{}
		}
		add(r)
	}
	add(&kgo.Record{Key: records[2].Key, Value: records[2].Value})
	add(&kgo.Record{Key: []byte("unknown"), Value: w.encoded(schemas.Request{
		ID: "unknown", Operation: schemas.OperationFetch, ServiceSID: f.ServiceSID, Identity: f.Identity, ChallengeSID: "YC" + strings.Repeat("0", 32),
	})})
	add(&kgo.Record{Key: []byte("broken"), Value: []byte(`{"version":"1.0","id":"broken","operation":"create"}`)})
	add(&kgo.Record{Key: []byte("text"), Value: []byte("not json"), Headers: []kgo.RecordHeader{{Key: "null"}, {Key: schemas.HeaderTraceparent, Value: []byte("odd")}}})
	add(&kgo.Record{Key: nil, Value: nil})
	for i := range partitions {
		add(&kgo.Record{Key: fmt.Appendf(nil, "text-%d", i), Value: []byte("not json either")})
	}
	producer := w.franz(kgo.TransactionalID(w.group + "-eventful"))
	for from := 0; from < len(records); from += 50 {
		must(w.t, producer.BeginTransaction())
		must(w.t, producer.ProduceSync(w.t.Context(), records[from:min(from+50, len(records))]...).FirstErr())
		must(w.t, producer.EndTransaction(w.t.Context(), kgo.TryCommit))
	}
	must(w.t, producer.BeginTransaction())
	must(w.t, producer.ProduceSync(w.t.Context(), &kgo.Record{Topic: w.topics.Requests, Value: records[1].Value}).FirstErr())
	must(w.t, producer.EndTransaction(w.t.Context(), kgo.TryAbort))
	w.holds(w.topics.Results, creates+3)

	must(w.t, producer.BeginTransaction())
	must(w.t, producer.ProduceSync(w.t.Context(), &kgo.Record{Topic: w.topics.Requests, Key: []byte("list"), Value: w.encoded(schemas.Request{
		ID: "list", Operation: schemas.OperationList, ServiceSID: f.ServiceSID, Identity: f.Identity, List: &schemas.List{FactorSID: f.SID, PageSize: 100},
	})}).FirstErr())
	must(w.t, producer.EndTransaction(w.t.Context(), kgo.TryCommit))
	topics = map[string][]*kgo.Record{
		w.topics.Requests:    w.holds(w.topics.Requests, len(records)+1),
		w.topics.Results:     w.holds(w.topics.Results, creates+3+2),
		w.topics.DeadLetters: w.holds(w.topics.DeadLetters, 2+partitions),
	}
	stop()
	return topics
}

func (w *world) encoded(r schemas.Request) []byte {
	w.t.Helper()
	value, err := r.Encode()
	must(w.t, err)
	return value
}

// verifier runs the program on reports of one world.
type verifier struct {
	*world
	client  *ours.Client
	dir     string
	private string
	public  string
	windows []string  // the reports' names
	until   time.Time // of the report without later answers
	// originals is what the topics held when the reports were made.
	originals map[string][]*kgo.Record
}

func (v *verifier) names() []string {
	return []string{v.topics.Requests, v.topics.Results, v.topics.DeadLetters}
}

func (w *world) verifier() *verifier {
	w.t.Helper()
	v := &verifier{world: w, dir: w.t.TempDir()}
	var err error
	v.client, err = ours.NewClient(ours.Config{Brokers: kafka.Addrs(), ClientID: "auditor"})
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, v.client.Close()) })
	v.private, v.public, err = audit.GenerateKey("auditor.test")
	must(w.t, err)
	return v
}

// at is the verifier in a part of the test.
func (v *verifier) at(t *testing.T) *verifier {
	inner, w := *v, *v.world
	w.t = t
	inner.world = &w
	return &inner
}

// report audits, and keeps the report.
func (v *verifier) report(name string, cfg audit.Config) []byte {
	v.t.Helper()
	cfg.Topics = audit.Topics{Requests: v.topics.Requests, Results: v.topics.Results, DeadLetters: v.topics.DeadLetters}
	cfg.Group, cfg.Tool = v.group, "test"
	ctx, cancel := context.WithTimeout(v.t.Context(), patience)
	defer cancel()
	r, err := audit.Run(ctx, v.client, cfg)
	must(v.t, err)
	if !r.Window.Closed || name == "all" && (len(r.Covered.Trees) <= 2*partitions || r.Counts.DeadLetters != 2+partitions || r.Counts.Outcomes["duplicate"] == 0) {
		v.t.Fatalf("%s: %+v, %+v", name, r.Window, r.Counts)
	}
	return v.keep(name, r)
}

// keep leaves a report and its signature behind under a name.
func (v *verifier) keep(name string, r *audit.Report) []byte {
	v.t.Helper()
	data, err := r.Encode()
	must(v.t, err)
	sig, err := audit.Sign(data, secret.String(v.private))
	must(v.t, err)
	v.write(name, data, sig)
	return data
}

func (v *verifier) write(name string, report, sig []byte) {
	v.t.Helper()
	must(v.t, os.WriteFile(filepath.Join(v.dir, name+".json"), report, 0o600))
	must(v.t, os.WriteFile(filepath.Join(v.dir, name+".json.sig"), sig, 0o600))
}

// says runs the program on a report and its signature.
func (v *verifier) says(want int, name string, texts ...string) {
	v.t.Helper()
	v.runs(want, name, v.signed(name), texts...)
}

func (v *verifier) signed(name string) []string {
	report := filepath.Join(v.dir, name+".json")
	return []string{report, "--brokers", strings.Join(kafka.Addrs(), ","), "--signature", report + ".sig", "--key", v.public}
}

func (v *verifier) runs(want int, what string, args []string, texts ...string) {
	v.t.Helper()
	cmd := exec.CommandContext(v.t.Context(), "python3", append([]string{"verifier/verify_report.py"}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+packages, "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != want {
		v.t.Errorf("%s: exit %d, want %d: %v\n%s", what, got, want, err, out)
		return
	}
	for _, text := range texts {
		if !bytes.Contains(out, []byte(text)) {
			v.t.Errorf("%s: no %q in\n%s", what, text, out)
		}
	}
}

// otherReports: what is changed in a report's file is noticed by the topics, even when
// it is signed anew, and else by the signature.
func (v *verifier) otherReports(report []byte) {
	decoded, err := audit.Decode(report)
	must(v.t, err)
	tree := decoded.Covered.Trees[partitions+1]
	block := tree.Blocks[3]
	hash := block.Hash.String()
	sig, err := os.ReadFile(filepath.Join(v.dir, "all.json.sig"))
	must(v.t, err)
	for name, change := range map[string]struct{ old, now, says string }{
		"a block": {hash, flipped(hash), fmt.Sprintf("%s/%d differs between the offsets %d and %d\n", tree.Topic, tree.Partition, block.First, tree.Blocks[4].First-1)},
		"a root":  {tree.Root.String(), flipped(tree.Root.String()), fmt.Sprintf("%s/%d: root is", tree.Topic, tree.Partition)},
		"the root of all": {
			decoded.Covered.Root.String(), flipped(decoded.Covered.Root.String()), "covered.root is not",
		},
		"a number":      {fmt.Sprintf(`"records": %d`, tree.Records), fmt.Sprintf(`"records": %d`, tree.Records+1), "records is"},
		"the count":     {`"results": 305`, `"results": 304`, "counts.results"},
		"another group": {`"group": "` + v.group, `"group": "another-` + v.group, "no record is there"},
		"twice":         {`"version": "1.0"`, `"version": "1.0", "version": "1.0"`, "twice"},
	} {
		changed := bytes.Replace(report, []byte(change.old), []byte(change.now), 1)
		if bytes.Equal(changed, report) {
			v.t.Fatalf("%s: there is no %s in the report", name, change.old)
		}
		v.write(name, changed, sig)
		v.runs(differs, name, []string{filepath.Join(v.dir, name+".json"), "--brokers", strings.Join(kafka.Addrs(), ",")}, change.says)
	}
	changed := bytes.Replace(report, []byte(`"tool": "test"`), []byte(`"tool": "tesT"`), 1)
	v.write("one byte", changed, sig)
	v.says(differs, "one byte", "the signature: it is of another report")
	_, stranger, err := audit.GenerateKey("auditor.test")
	must(v.t, err)
	path := filepath.Join(v.dir, "all.json")
	brokers := []string{"--brokers", strings.Join(kafka.Addrs(), ",")}
	v.runs(differs, "another key", append(brokers, path, "--signature", path+".sig", "--key", stranger), "the signature: none is by auditor.test")
	v.write("another text", report, bytes.Replace(sig, []byte("report 1\n"), []byte("report 2\n"), 1))
	v.says(differs, "another text", "the signature: it is not of this text")
	v.runs(cannotRun, "no file", append(brokers, path+".absent"), "could not be verified")
	v.runs(cannotRun, "no key", append(brokers, path, "--signature", path+".sig", "--key", "auditor.test"), "could not be verified")
}

// flipped is a hash with another first digit.
func flipped(hash string) string {
	if hash[0] == '0' {
		return "1" + hash[1:]
	}
	return "0" + hash[1:]
}

// otherWindows: a report that leaves out what its window by time holds is noticed,
// though everything that it covers is as it says.
func (v *verifier) otherWindows() {
	from, to := time.Now().Add(-time.Hour), time.Now()
	inner := v.report("inner", audit.Config{Offsets: []audit.OffsetSpan{{Partition: 0, From: 3, To: 40}, {Partition: 1, From: 0, To: 40}, {Partition: 2, From: 0, To: 40}}})
	v.says(isSo, "inner")
	forged, err := audit.Decode(inner)
	must(v.t, err)
	forged.Window.ByOffsets, forged.Window.From, forged.Window.To = false, &from, &to
	v.keep("forged", forged)
	v.says(differs, "forged", v.topics.Requests+"/0: the request at 0 belongs to the window and is not covered")
}

// contradictions: a report says nothing that our audit never writes, though the topics
// are as it says. It could leave out what came later, or a partition.
func (v *verifier) contradictions() {
	all := v.decoded("all").Window
	for name, c := range map[string]struct {
		of     string
		change func(r *audit.Report)
		says   string
	}{
		"answers that end early":   {"by time", func(r *audit.Report) { r.Window.Results = all.Results }, "window.results is there"},
		"letters that end early":   {"by offsets", func(r *audit.Report) { r.Window.DeadLetters = all.DeadLetters }, "window.dead_letters is there"},
		"no end of the answers":    {"all", func(r *audit.Report) { r.Window.Results = nil }, "window.results is there"},
		"not ended, but closed":    {"by time", func(r *audit.Report) { r.Window.NotEnded = true }, "window.closed contradicts"},
		"open without a finding":   {"all", func(r *audit.Report) { r.Window.Closed = false }, "window.closed contradicts"},
		"closed beside a finding":  {"all", func(r *audit.Report) { r.Counts.ByKind[audit.KindOpen] = 1 }, "window.closed contradicts"},
		"times beside offsets":     {"by offsets", func(r *audit.Report) { r.Window.From = r.Window.First }, "window.by_offsets"},
		"requests left out":        {"all", func(r *audit.Report) { r.Window.Requests = slices.Delete(r.Window.Requests, 1, 2) }, "window.requests: a partition"},
		"requests twice":           {"by offsets", func(r *audit.Report) { r.Window.Requests[1].Partition = 0 }, "window.requests: a partition"},
		"results left out":         {"all", func(r *audit.Report) { r.Window.Results = r.Window.Results[1:] }, "window.results: a partition"},
		"letters in another order": {"all", func(r *audit.Report) { slices.Reverse(r.Window.DeadLetters) }, "window.dead_letters: a partition"},
		"an end before the start":  {"all", func(r *audit.Report) { r.Window.Results[0].From = r.Window.Results[0].To + 1 }, "window.results: a span"},
	} {
		forged := v.decoded(c.of)
		c.change(forged)
		v.keep("forged", forged)
		v.t.Run(name, func(t *testing.T) { v.at(t).says(differs, "forged", c.says) })
	}
}

func (v *verifier) decoded(name string) *audit.Report {
	v.t.Helper()
	data, err := os.ReadFile(filepath.Join(v.dir, name+".json"))
	must(v.t, err)
	r, err := audit.Decode(data)
	must(v.t, err)
	return r
}

// otherRecords: a record with anything changed is noticed, and one that is gone. Topics
// that are made anew without a change are what they were.
func (v *verifier) otherRecords() {
	for _, topic := range v.names() {
		v.remade(topic, nil)
	}
	v.says(isSo, "all", "as the report says")
	full := func(r *kgo.Record) bool { return len(r.Headers) == 5 && len(r.Key) > 0 }
	remadeLast := v.topics.Results
	for _, c := range []struct {
		name, topic string
		which       func(r *kgo.Record) bool
		change      func(r *kgo.Record)
	}{
		{"a result's value", v.topics.Results, full, func(r *kgo.Record) {
			r.Value = bytes.Replace(r.Value, []byte(`"attempts":1`), []byte(`"attempts":2`), 1)
		}},
		{"a key", v.topics.Results, full, func(r *kgo.Record) { r.Key = []byte("another") }},
		{"a header's value", v.topics.Results, full, func(r *kgo.Record) { r.Headers[0].Value = []byte("firsT") }},
		{"a header's name", v.topics.Results, full, func(r *kgo.Record) { r.Headers[0].Key = "tenanT" }},
		{"a null header", v.topics.Results, full, func(r *kgo.Record) { r.Headers[3].Value = []byte{} }},
		{"the headers' order", v.topics.Results, full, func(r *kgo.Record) { r.Headers[0], r.Headers[2] = r.Headers[2], r.Headers[0] }},
		{"one header less", v.topics.Results, full, func(r *kgo.Record) { r.Headers = r.Headers[:4] }},
		{"a timestamp", v.topics.Results, full, func(r *kgo.Record) { r.Timestamp = r.Timestamp.Add(time.Millisecond) }},
		{"a null key", v.topics.Requests, func(r *kgo.Record) bool { return r.Key == nil }, func(r *kgo.Record) { r.Key = []byte{} }},
		{"a request's value", v.topics.Requests, full, func(r *kgo.Record) { r.Value = append(r.Value, ' ') }},
		{"a dead letter's value", v.topics.DeadLetters, func(r *kgo.Record) bool { return len(r.Value) > 0 }, func(r *kgo.Record) { r.Value = append(r.Value, '!') }},
	} {
		// A topic that is made anew once more needs not be as it was before that.
		if c.topic != remadeLast {
			v.remade(remadeLast, nil)
			remadeLast = c.topic
		}
		v.t.Run(c.name, func(t *testing.T) {
			v := v.at(t)
			at := v.remade(c.topic, func(r *kgo.Record) bool {
				if !c.which(r) {
					return false
				}
				c.change(r)
				return true
			})
			v.says(differs, "all", fmt.Sprintf("%s/%d differs between the offsets", c.topic, at.Partition))
		})
	}
	v.remade(remadeLast, nil)
	v.says(isSo, "all")

	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = int32(patience.Milliseconds())
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = 1, 1
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: v.topics.Results, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{p}}}
	answer, err := req.RequestWith(v.t.Context(), v.franz())
	must(v.t, err)
	must(v.t, kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode))
	v.says(differs, "all", v.topics.Results+"/1 differs between the offsets 0 and ")
	v.remade(v.topics.Results, nil)
}
