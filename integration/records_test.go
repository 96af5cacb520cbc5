package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

// readCommitted reads n records of a topic as another program's consumer does.
func (w *world) readCommitted(topic string, n int) []*kgo.Record {
	w.t.Helper()
	reader := w.franz(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	var out []*kgo.Record
	for len(out) < n && ctx.Err() == nil {
		out = append(out, reader.PollFetches(ctx).Records()...)
	}
	if len(out) != n {
		w.t.Fatalf("%d records in %s, want %d", len(out), topic, n)
	}
	return out
}

func decodeResult(t testing.TB, r *kgo.Record) *schemas.Result {
	t.Helper()
	res, _, err := schemas.DecodeResult(r.Value)
	must(t, err)
	return res
}

// TestEveryCompressionIsRead: batches that a producer has compressed are
// answered like any other, and another client reads the results.
func TestEveryCompressionIsRead(t *testing.T) {
	w := newWorld(t, emulator.Config{})
	m := w.run(w.config())
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	const each = 30
	sent := map[string]bool{}
	for name, codec := range codecs {
		producer := w.franz(kgo.DefaultProduceTopic(w.topics.Requests), kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		batch := make([]*kgo.Record, each)
		for i := range batch {
			r := w.create(i)
			r.ID = fmt.Sprintf("%s-%d", name, i)
			r.Create.Details.Message = strings.Repeat("Sign in? ", 20) // worth compressing
			batch[i] = encoded(r)
			batch[i].Partition = int32(i % 2)
			sent[r.ID] = true
		}
		must(t, producer.ProduceSync(t.Context(), batch...).FirstErr())
		w.sent += each
	}
	got := w.awaitAll()
	must(t, m.leave())
	w.auditsClean(t)
	if got.outcomes[schemas.OutcomeSucceeded] != len(sent) || len(got.doubled) > 0 {
		t.Errorf("outcomes %v, doubled %v, want %d succeeded", got.outcomes, got.doubled, len(sent))
	}
	for _, r := range w.readCommitted(w.topics.Results, len(sent)) {
		id := decodeResult(t, r).RequestID
		if !sent[id] {
			t.Errorf("a result answers %q, which was not asked or is answered twice", id)
		}
		delete(sent, id)
	}
}

// TestKeysAndHeadersPass: what a request's record carries beside its value
// passes to its result, and to its dead letter with the latter's own behind.
func TestKeysAndHeadersPass(t *testing.T) {
	w := newWorld(t, emulator.Config{})
	m := w.run(w.config())
	producer := w.franz(kgo.DefaultProduceTopic(w.topics.Requests))
	headers := []kgo.RecordHeader{
		{Key: schemas.HeaderTraceparent, Value: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")},
		{Key: schemas.HeaderTracestate, Value: []byte("vendor=value")},
		{Key: "tenant", Value: []byte("first")},
		{Key: "binary", Value: []byte{0, 0xff, 0xfe, '\n'}},
		{Key: "tenant", Value: []byte("second")},
		{Key: "empty", Value: []byte{}},
		{Key: "null", Value: nil},
		{Key: "größe", Value: []byte("XL")},
	}
	records := map[string]*kgo.Record{}
	ask := func(id string, key []byte) {
		r := w.create(0)
		r.ID = id
		rec := encoded(r)
		rec.Key, rec.Headers = key, headers
		must(t, producer.ProduceSync(t.Context(), rec).FirstErr())
		records[id] = rec
	}
	ask("text key", []byte("customer-17"))
	ask("binary key", []byte{0, 1, 0x80, 0xff})
	ask("empty key", []byte{})
	ask("null key", nil)
	noText := &kgo.Record{Key: []byte{0xff}, Value: []byte("not json"), Headers: headers}
	noValue := &kgo.Record{Key: []byte("tombstone"), Headers: headers}
	must(t, producer.ProduceSync(t.Context(), noText, noValue).FirstErr())
	w.sent += len(records) + 2
	w.awaitAll()
	must(t, m.leave())
	w.auditsClean(t)
	for _, got := range w.readCommitted(w.topics.Results, len(records)) {
		res := decodeResult(t, got)
		asked := records[res.RequestID]
		if res.Request.Offset != asked.Offset || res.Request.Partition != int(asked.Partition) {
			t.Errorf("%s: its coordinates are %+v, the record's %d@%d", res.RequestID, res.Request, asked.Partition, asked.Offset)
		}
		want := asked.Key
		if want == nil {
			want = []byte(res.Identity)
		}
		if !bytes.Equal(got.Key, want) || got.Key == nil {
			t.Errorf("%s: key %q, want %q", res.RequestID, got.Key, want)
		}
		wantHeaders(t, res.RequestID, got.Headers, headers)
	}
	for _, got := range w.readCommitted(w.topics.DeadLetters, 2) {
		asked := noText
		if got.Value == nil {
			asked = noValue
		}
		if !bytes.Equal(got.Key, asked.Key) || !bytes.Equal(got.Value, asked.Value) {
			t.Errorf("dead letter %q: %q, want %q: %q", got.Key, got.Value, asked.Key, asked.Value)
		}
		wantHeaders(t, string(asked.Key), got.Headers[:min(len(headers), len(got.Headers))], headers)
		var own []schemas.Header
		for _, h := range got.Headers {
			own = append(own, schemas.Header{Key: h.Key, Value: h.Value})
		}
		d, _, err := schemas.DecodeDeadLetter(own)
		must(t, err)
		if d.Offset != asked.Offset || d.Partition != int(asked.Partition) || d.Topic != w.topics.Requests || d.Class != schemas.ClassNotJSON {
			t.Errorf("dead letter %+v", d)
		}
	}
}

func wantHeaders(t *testing.T, of string, got, want []kgo.RecordHeader) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: headers %q, want %q", of, got, want)
		return
	}
	for i, h := range want {
		if got[i].Key != h.Key || !bytes.Equal(got[i].Value, h.Value) || (got[i].Value == nil) != (h.Value == nil) {
			t.Errorf("%s: header %d is %q: %#v, want %q: %#v", of, i, got[i].Key, got[i].Value, h.Key, h.Value)
		}
	}
}

// TestListsAreSplit: a list too large for one record comes in pages that a
// reader joins without a gap, each below a broker's usual bound and the first
// ones not far from it.
func TestListsAreSplit(t *testing.T) {
	const n = 400
	w := newWorld(t, emulator.Config{})
	m := w.run(w.config())
	w.await("the lanes to work", func() bool { return len(m.Status().Lanes) == partitions })
	for i := range n {
		w.send(w.heavy(i))
	}
	w.awaitAll()
	made := map[string]bool{}
	for _, c := range w.api.Created() {
		made[c.SID] = true
	}
	f := w.factors[0]
	w.send(schemas.Request{
		ID: "the list", Operation: schemas.OperationList, ServiceSID: f.ServiceSID, Identity: f.Identity,
		List: &schemas.List{FactorSID: f.SID, PageSize: 100},
	})
	// The pages are in one transaction: where one can be read, all can.
	found := w.awaitAll()
	must(t, m.leave())
	w.auditsClean(t)
	total := 0
	for _, rs := range found.results {
		total += len(rs)
	}
	var pages []*kgo.Record
	for _, r := range w.readCommitted(w.topics.Results, total) {
		if decodeResult(t, r).RequestID == "the list" {
			pages = append(pages, r)
		}
	}
	ids, sids := map[string]bool{}, map[string]bool{}
	for i, r := range pages {
		res := decodeResult(t, r)
		if res.Page == nil || res.Page.Index != i || res.Page.Last != (i == len(pages)-1) || r.Partition != pages[0].Partition {
			t.Fatalf("record %d of %d is page %+v in partition %d", i, len(pages), res.Page, r.Partition)
		}
		if len(r.Value) > 1<<20 || i < len(pages)-1 && len(r.Value) < 800<<10 {
			t.Errorf("page %d has %d bytes", i, len(r.Value))
		}
		if ids[res.ID] || res.Outcome != schemas.OutcomeSucceeded {
			t.Errorf("page %d: id %s, outcome %s", i, res.ID, res.Outcome)
		}
		ids[res.ID] = true
		for _, c := range res.Challenges {
			sid := sidOf(t, c)
			if !made[sid] || sids[sid] {
				t.Errorf("page %d has %s, which is unknown or was there before", i, sid)
			}
			sids[sid] = true
		}
	}
	if len(sids) != n || len(pages) < 2 {
		t.Errorf("%d challenges on %d pages, want %d on some", len(sids), len(pages), n)
	}
}

// heavy is a create of the first factor whose challenge takes some kilobytes.
func (w *world) heavy(i int) schemas.Request {
	r := w.create(0)
	r.ID = fmt.Sprintf("heavy-%04d", i)
	for range 20 {
		r.Create.Details.Fields = append(r.Create.Details.Fields, schemas.Field{Label: strings.Repeat("l", 36), Value: strings.Repeat("v", 128)})
	}
	r.Create.HiddenDetails = map[string]string{"filler": strings.Repeat("x", 800)}
	return r
}

func sidOf(t testing.TB, challenge json.RawMessage) string {
	t.Helper()
	var c struct {
		SID string `json:"sid"`
	}
	must(t, json.Unmarshal(challenge, &c))
	return c.SID
}

// TestLargeRecords: a request as large as a broker takes by default is
// answered; what cannot be set aside whole is set aside as its hash; what is
// larger than an event may be is refused without a call.
func TestLargeRecords(t *testing.T) {
	w := newBareWorld(t, emulator.Config{})
	w.makeTopics(map[string]map[string]string{w.topics.Requests: {"max.message.bytes": fmt.Sprint(4 << 20)}})
	m := w.run(w.config())
	producer := w.franz(kgo.DefaultProduceTopic(w.topics.Requests), kgo.ProducerBatchMaxBytes(3<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	padded := func(id string, size int) *kgo.Record {
		r := w.create(0)
		r.ID = id
		rec := encoded(r)
		// A field of a later version, which is ignored.
		rec.Value = append(rec.Value[:len(rec.Value)-1], `,"later":""}`...)
		filler := bytes.Repeat([]byte("x"), size-len(rec.Value))
		rec.Value = append(append(rec.Value[:len(rec.Value)-2:len(rec.Value)-2], filler...), `"}`...)
		return rec
	}
	const bound = 1048588 // Kafka's default of max.message.bytes, a whole batch
	tooLarge := padded("too large", schemas.MaxEventBytes+500<<10)
	noJSON := &kgo.Record{Key: []byte("k"), Value: bytes.Repeat([]byte("x"), bound-500)}
	for _, r := range []*kgo.Record{padded("large", bound-500), tooLarge, noJSON, padded("behind them", 2000)} {
		must(t, producer.ProduceSync(t.Context(), r).FirstErr())
		w.sent++
	}
	got := w.awaitAll()
	must(t, m.leave())
	w.auditsClean(t)
	if got.outcomes[schemas.OutcomeSucceeded] != 2 || w.api.Stats().Creates != 2 {
		t.Errorf("outcomes %v, %d challenges, want the two that can be read to succeed", got.outcomes, w.api.Stats().Creates)
	}
	for rec, class := range map[*kgo.Record]schemas.Class{tooLarge: schemas.ClassTooLarge, noJSON: schemas.ClassNotJSON} {
		ds := got.deadLetters[coordinates(w.topics.Requests, int(rec.Partition), rec.Offset)]
		if len(ds) != 1 || ds[0].Class != class || ds[0].HasResult || ds[0].Redrivable {
			t.Errorf("dead letters %+v, want one of class %s, not redrivable", ds, class)
		}
	}
	for _, r := range w.readCommitted(w.topics.DeadLetters, 2) {
		if !strings.HasPrefix(string(r.Value), "sha256:") || len(r.Value) != len("sha256:")+64 {
			t.Errorf("a dead letter of %d bytes, want a hash", len(r.Value))
		}
	}
}

// TestResultsThatTheBrokerRefuses: a results topic with a bound below ours
// costs no request its answer. What is left out is said.
func TestResultsThatTheBrokerRefuses(t *testing.T) {
	w := newBareWorld(t, emulator.Config{})
	w.makeTopics(map[string]map[string]string{w.topics.Results: {"max.message.bytes": "3000"}})
	m := w.run(w.config())
	w.await("the lanes to work", func() bool { return len(m.Status().Lanes) == partitions })
	f := w.factors[0]
	w.send(w.heavy(0), w.create(1))
	w.awaitAll()
	w.send(schemas.Request{
		ID: "the list", Operation: schemas.OperationList, ServiceSID: f.ServiceSID, Identity: f.Identity, List: &schemas.List{FactorSID: f.SID},
	})
	w.awaitAll()
	must(t, m.leave())
	w.auditsClean(t)
	results := map[string]*schemas.Result{}
	for _, r := range w.readCommitted(w.topics.Results, 3) {
		res := decodeResult(t, r)
		results[res.RequestID] = res
	}
	heavy := results["heavy-0000"]
	if heavy.Outcome != schemas.OutcomeSucceeded || sidOf(t, heavy.Challenge) == "" || !bytes.Contains(heavy.Challenge, []byte("countersign_left_out")) {
		t.Errorf("the large challenge's result is %s with %s", heavy.Outcome, heavy.Challenge)
	}
	if list := results["the list"]; list.Outcome != schemas.OutcomeFailed || list.Error.Class != schemas.ClassTooLarge {
		t.Errorf("the large list's result is %s, %+v", list.Outcome, list.Error)
	}
	if small := results["create-00001"]; small.Outcome != schemas.OutcomeSucceeded || bytes.Contains(small.Challenge, []byte("countersign_left_out")) {
		t.Errorf("the small challenge's result is %s", small.Outcome)
	}
}

// TestTimestamps: a result names its request record's time to the millisecond,
// and without a not_after of its own a request is good for five minutes from
// then, not from when it is read. On a topic with LogAppendTime too it is the
// producer's time that counts.
func TestTimestamps(t *testing.T) {
	for _, kind := range []string{"CreateTime", "LogAppendTime"} {
		t.Run(kind, func(t *testing.T) {
			w := newBareWorld(t, emulator.Config{})
			w.makeTopics(map[string]map[string]string{w.topics.Requests: {"message.timestamp.type": kind}})
			m := w.run(w.config())
			producer := w.franz(kgo.DefaultProduceTopic(w.topics.Requests))
			now := time.Now()
			at := map[string]time.Time{
				"create-00000": now.Add(-2 * time.Minute).Truncate(time.Millisecond),
				"create-00001": now.Add(-10 * time.Minute).Truncate(time.Millisecond),
				"create-00002": now.Add(-10 * time.Minute).Truncate(time.Millisecond),
			}
			for i := range len(at) {
				r := w.create(i)
				if i == 2 {
					r.NotAfter = new(now.Add(time.Minute))
				}
				rec := encoded(r)
				rec.Timestamp = at[r.ID]
				must(t, producer.ProduceSync(t.Context(), rec).FirstErr())
				w.sent++
			}
			w.awaitAll()
			must(t, m.leave())
			w.auditsClean(t)
			outcomes := map[string]schemas.Outcome{}
			for _, r := range w.readCommitted(w.topics.Results, len(at)) {
				res := decodeResult(t, r)
				outcomes[res.RequestID] = res.Outcome
				if !res.Request.Timestamp.Equal(at[res.RequestID]) {
					t.Errorf("%s: the request's time is %v, the record's %v", res.RequestID, res.Request.Timestamp, at[res.RequestID])
				}
				if r.Timestamp.Before(now.Add(-time.Minute)) {
					t.Errorf("%s: the result's record is of %v", res.RequestID, r.Timestamp)
				}
			}
			want := map[string]schemas.Outcome{
				"create-00000": schemas.OutcomeSucceeded, "create-00001": schemas.OutcomeExpired, "create-00002": schemas.OutcomeSucceeded,
			}
			if !maps.Equal(outcomes, want) || w.api.Stats().Calls[emulator.OperationCreate] != 2 {
				t.Errorf("outcomes %v, %d calls; want %v", outcomes, w.api.Stats().Calls[emulator.OperationCreate], want)
			}
		})
	}
}

// makeTopics makes the topics with further settings for some.
func (w *world) makeTopics(settings map[string]map[string]string) {
	w.t.Helper()
	operator, err := kafka.NewClient(kafka.Config{Brokers: w.addrs, ClientID: "operator"})
	must(w.t, err)
	defer func() { must(w.t, operator.Close()) }()
	for topic, configs := range settings {
		must(w.t, operator.EnsureTopics(w.t.Context(), []kafka.TopicSpec{{Name: topic, Partitions: partitions, Configs: configs}}))
	}
	w.make(w.t, partitions)
}
