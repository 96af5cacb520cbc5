package audit

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"go.uber.org/goleak"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/broker"
	"github.com/countersign/countersign/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	service  = "VA00000000000000000000000000000001"
	factor   = "YF00000000000000000000000000000001"
	identity = "customer-0001"
	group    = "countersign"
)

var topics = Topics{Requests: "requests", Results: "results", DeadLetters: "dead"}

// epoch is when the bubble's time begins, and with it every world.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// world is a broker and what was written to it.
type world struct {
	t       *testing.T
	net     *kfake.VirtualNetwork
	cluster *kfake.Cluster
	addrs   []string
	client  *kafka.Client
	foreign *kgo.Client
	next    map[string]map[int]int64 // offsets, where only this world writes
	sids    int
	ticks   int
	tamper  tamper // nil: records are written as they are
}

func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t)) })
}

func newWorld(t *testing.T) *world {
	t.Helper()
	net := &kfake.VirtualNetwork{}
	b, err := broker.Start(broker.Config{
		Topics: map[string]int32{"requests": 2, "results": 3, "dead": 1}, Network: net,
	})
	must(t, err)
	t.Cleanup(b.Close)
	w := &world{t: t, net: net, cluster: b.Cluster(), addrs: b.Addrs(), next: map[string]map[int]int64{}}
	w.client, err = kafka.NewClient(kafka.Config{Brokers: w.addrs, Dial: net.DialContext})
	must(t, err)
	t.Cleanup(func() { _ = w.client.Close() })
	w.foreign, err = kgo.NewClient(kgo.SeedBrokers(w.addrs...), kgo.MaxVersions(kversion.V3_9_0()), kgo.Dialer(net.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	must(t, err)
	t.Cleanup(w.foreign.Close)
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write appends a record and tells its offset.
func (w *world) write(topic string, partition int, at time.Time, key string, value []byte, headers ...schemas.Header) int64 {
	w.t.Helper()
	if w.tamper != nil {
		changed, own, later, more, whole := w.tamper(topic, value)
		if !whole {
			return -1
		}
		value, key, at, headers = changed, own, at.Add(later), append(headers, more...)
	}
	m := kafka.Message{Topic: topic, Partition: &partition, Value: value, Headers: headers, Timestamp: at}
	if key != "" {
		m.Key = []byte(key)
	}
	must(w.t, w.client.Produce(w.t.Context(), []kafka.Message{m}))
	if w.next[topic] == nil {
		w.next[topic] = map[int]int64{}
	}
	w.next[topic][partition]++
	return w.next[topic][partition] - 1
}

// ask is a request in a partition, written a second after another.
type ask struct {
	at    schemas.Coordinates
	req   schemas.Request
	value []byte
}

func (w *world) ask(partition int, id string, change ...func(r *schemas.Request)) ask {
	w.t.Helper()
	a := ask{req: schemas.Request{
		ID: id, Operation: schemas.OperationCreate, ServiceSID: service, Identity: identity, Create: &schemas.Create{FactorSID: factor},
	}}
	for _, c := range change {
		c(&a.req)
	}
	var err error
	a.value, err = a.req.Encode()
	must(w.t, err)
	return w.askRaw(partition, a)
}

func (w *world) askRaw(partition int, a ask) ask {
	w.t.Helper()
	a.at = schemas.Coordinates{Topic: topics.Requests, Partition: partition, Timestamp: w.tick()}
	a.at.Offset = w.write(topics.Requests, partition, a.at.Timestamp, "", a.value)
	return a
}

// tick is a second later than the last time, to the millisecond on any machine;
// at least as much has passed then.
func (w *world) tick() time.Time {
	<-time.After(time.Second)
	w.ticks++
	return epoch.Add(time.Duration(w.ticks) * time.Second)
}

// answer writes the result of a request, 250 ms after it was asked.
func (w *world) answer(partition int, a ask, change ...func(r *schemas.Result)) int64 {
	w.t.Helper()
	at := a.at.Timestamp.Add(250 * time.Millisecond)
	called := a.at.Timestamp.Add(50 * time.Millisecond)
	w.sids++
	r := schemas.Result{
		ID: schemas.ResultID(group, a.at, 0), RequestID: a.req.ID, Operation: a.req.Operation, Outcome: schemas.OutcomeSucceeded,
		ServiceSID: a.req.ServiceSID, Identity: a.req.Identity, ChallengeSID: a.req.ChallengeSID, Attempts: 1, Request: a.at,
		Times: schemas.Times{Received: a.at.Timestamp, Called: &called, Completed: at}, Challenge: challengeOf(w.sids, "pending"),
	}
	for _, c := range change {
		c(&r)
	}
	value, err := r.Encode()
	must(w.t, err)
	return w.write(topics.Results, partition, at, "", value)
}

func sidOf(n int) string { return fmt.Sprintf("YC%032x", n) }

func challengeOf(n int, status string) json.RawMessage {
	return fmt.Appendf(nil, `{"sid":%q,"status":%q,"identity":%q,"factor_sid":%q,"service_sid":%q}`, sidOf(n), status, identity, factor, service)
}

func rejected(r *schemas.Result) {
	r.Outcome, r.Challenge, r.Attempts, r.Times.Called = schemas.OutcomeRejected, nil, 0, nil
	r.Error = &schemas.Error{Class: schemas.ClassInvalid, Message: "the request is not valid"}
}

func failed(r *schemas.Result) {
	r.Outcome, r.Challenge = schemas.OutcomeFailed, nil
	r.Error = &schemas.Error{Class: schemas.ClassAmbiguous, Message: "the call's end is not known"}
}

// bury writes a dead letter of a request.
func (w *world) bury(a ask, beside bool, change ...func(d *schemas.DeadLetter)) int64 {
	w.t.Helper()
	d := schemas.DeadLetter{Class: schemas.ClassNotJSON, Coordinates: a.at, RequestID: a.req.ID, HasResult: beside, At: a.at.Timestamp.Add(time.Second)}
	if beside {
		d.Class, d.Redrivable = schemas.ClassAmbiguous, true
	}
	for _, c := range change {
		c(&d)
	}
	return w.write(topics.DeadLetters, 0, d.At, "", a.value, d.Headers()...)
}

// work says that the group has worked off so much of a partition.
func (w *world) work(partition int, frontier int64) {
	w.t.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = topics.Requests
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = int32(partition), frontier
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	res, err := req.RequestWith(w.t.Context(), w.foreign)
	must(w.t, err)
	if code := res.Topics[0].Partitions[0].ErrorCode; code != 0 {
		w.t.Fatalf("commit: error %d", code)
	}
}

// worked says that everything is worked off.
func (w *world) worked() {
	for p := range 2 {
		w.work(p, w.next[topics.Requests][p])
	}
}

func config() Config { return Config{Topics: topics, Group: group, Tool: "test"} }

func (w *world) audit(cfg Config) *Report {
	w.t.Helper()
	r, err := Run(w.t.Context(), w.client, cfg)
	must(w.t, err)
	return r
}

// shown are the findings of a report by what they are and where.
func shown(r *Report) []string {
	out := []string{}
	for _, f := range r.Findings {
		at := "-"
		if f.Request != nil {
			at = fmt.Sprintf("%d@%d %s", f.Request.Partition, f.Request.Offset, f.Request.ID)
		}
		if f.Span != nil {
			at = fmt.Sprintf("%d@%d-%d", f.Span.Partition, f.Span.From, f.Span.To)
		}
		for _, p := range f.Records {
			at += fmt.Sprintf(" %s/%d@%d", p.Topic, p.Partition, p.Offset)
		}
		out = append(out, fmt.Sprintf("%s %s: %s", f.Kind, f.Detail, at))
	}
	return out
}

// abort writes a record in a transaction that is aborted; its marker follows.
func (w *world) abort(topic string, partition int, value []byte) {
	w.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(w.addrs...), kgo.Dialer(w.net.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("aborted"))
	must(w.t, err)
	defer c.Close()
	must(w.t, c.BeginTransaction())
	must(w.t, c.ProduceSync(w.t.Context(), &kgo.Record{Topic: topic, Partition: int32(partition), Value: value, Timestamp: time.Now()}).FirstErr())
	must(w.t, c.EndTransaction(w.t.Context(), kgo.TryAbort))
	if w.next[topic] == nil {
		w.next[topic] = map[int]int64{}
	}
	w.next[topic][partition] += 2
}

// forget deletes the beginning of a partition.
func (w *world) forget(topic string, partition int, below int64) {
	w.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	one := kmsg.NewDeleteRecordsRequestTopic()
	one.Topic = topic
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = int32(partition), below
	one.Partitions = append(one.Partitions, p)
	req.Topics = append(req.Topics, one)
	res, err := req.RequestWith(w.t.Context(), w.foreign)
	must(w.t, err)
	if code := res.Topics[0].Partitions[0].ErrorCode; code != 0 {
		w.t.Fatalf("delete records: error %d", code)
	}
}
