package kafka

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/schemas"
)

func TestFetchReturnsCommittedRecordsOnly(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	plain, a, b := w.plainProducer(), w.txnProducer("a"), w.txnProducer("b")
	put(t, plain, "t", 0, "p0", "p1") // 0 1
	begin(t, a)
	put(t, a, "t", 0, "a0", "a1") // 2 3
	begin(t, b)
	put(t, b, "t", 0, "b0")     // 4
	put(t, plain, "t", 0, "p2") // 5
	put(t, a, "t", 0, "a2")     // 6
	end(t, a, kgo.TryAbort)     // 7
	put(t, b, "t", 0, "b1")     // 8
	end(t, b, kgo.TryCommit)    // 9
	begin(t, a)                 // the same producer, committed this time
	put(t, a, "t", 0, "a3")     // 10
	end(t, a, kgo.TryCommit)    // 11
	put(t, plain, "t", 0, "p3") // 12
	begin(t, b)                 // stays open
	open := put(t, b, "t", 0, "b2", "b3")
	put(t, plain, "t", 0, "p4")

	c := w.client()
	want := []string{"p0", "p1", "b0", "p2", "b1", "a3", "p3"}
	for _, maxBytes := range []int{0, 1, 200} {
		got, last, _ := readAll(t, c, "t", 0, maxBytes)
		if !slices.Equal(got, want) {
			t.Errorf("max bytes %d: got %v, want %v", maxBytes, got, want)
		}
		if last.Next != open || last.LastStable != open || last.LogStart != 0 {
			t.Errorf("max bytes %d: ends with %+v, want the open transaction's offset %d", maxBytes, last, open)
		}
	}
	if got, _, _ := readAll(t, c, "t", 3, 0); !slices.Equal(got, want[2:]) {
		t.Errorf("from the middle of an aborted batch: got %v, want %v", got, want[2:])
	}
	end(t, b, kgo.TryAbort)
	got, last, _ := readAll(t, c, "t", open, 0)
	if !slices.Equal(got, []string{"p4"}) || last.Next != open+4 || last.LastStable != open+4 {
		t.Errorf("after the abort: %v, %+v", got, last)
	}
}

func TestFetchStepsOverTrailingControlRecord(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		p := w.txnProducer("a")
		for _, how := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
			begin(t, p)
			first := put(t, p, "t", 0, "x")
			end(t, p, how)
			c := w.client()
			res, err := c.Fetch(t.Context(), FetchRequest{Topic: "t", Offset: first + 1, MaxWait: time.Second})
			if err != nil || len(res.Records) != 0 || res.Next != first+2 || res.LastStable != first+2 {
				t.Errorf("%v: %+v, %v", how, res, err)
			}
			start := time.Now()
			res, err = c.Fetch(t.Context(), FetchRequest{Topic: "t", Offset: first + 2, MaxWait: time.Second})
			if err != nil || res.Next != first+2 || time.Since(start) != time.Second {
				t.Errorf("%v: at the end %+v, %v after %s; the broker should wait for data", how, res, err, time.Since(start))
			}
		}
	})
}

func TestFetchStepsOverManyAbortedRecords(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	plain, p := w.plainProducer(), w.txnProducer("a")
	put(t, plain, "t", 0, "first")
	begin(t, p)
	const aborted = 16_384 + 500
	values := slices.Repeat([]string{strings.Repeat("x", 100)}, aborted)
	for batch := range slices.Chunk(values, 2000) {
		put(t, p, "t", 0, batch...)
	}
	end(t, p, kgo.TryAbort)
	last := put(t, plain, "t", 0, "last")
	got, res, fetches := readAll(t, w.client(), "t", 0, 1<<20)
	if !slices.Equal(got, []string{"first", "last"}) || res.Next != last+1 || last < aborted {
		t.Fatalf("got %d records, ends with %+v, want first and last at %d", len(got), res, last)
	}
	if fetches > 5 {
		t.Errorf("%d fetches for 1.8 MB of aborted records", fetches)
	}
}

func TestFetchKeepsRecordsWhole(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	at := time.Date(2031, 5, 6, 7, 8, 9, 123_000_000, time.UTC)
	records := []*kgo.Record{
		{Key: nil, Value: nil},
		{Key: []byte{}, Value: []byte{}},
		{Key: []byte("k"), Value: []byte("v"), Timestamp: at, Headers: []kgo.RecordHeader{
			{Key: "h", Value: []byte("1")}, {Key: "h", Value: []byte("2")}, {Key: "", Value: nil}, {Key: "e", Value: []byte{}},
		}},
		{Value: bytes.Repeat([]byte("long"), 50_000)}, // more than one page of kafka-go's
		{Key: []byte("last"), Value: []byte("v")},
	}
	for _, r := range records {
		r.Topic = "t"
	}
	if err := w.plainProducer().ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	res, err := w.client().Fetch(t.Context(), FetchRequest{Topic: "t"})
	if err != nil || len(res.Records) != len(records) {
		t.Fatalf("%d records, %v", len(res.Records), err)
	}
	for i, got := range res.Records {
		want := records[i]
		if got.Topic != "t" || got.Partition != 0 || got.Offset != int64(i) {
			t.Errorf("record %d: %s/%d at %d", i, got.Topic, got.Partition, got.Offset)
		}
		if !bytes.Equal(got.Key, want.Key) || (got.Key == nil) != (want.Key == nil) {
			t.Errorf("record %d: key %#v, want %#v", i, got.Key, want.Key)
		}
		if !bytes.Equal(got.Value, want.Value) || (got.Value == nil) != (want.Value == nil) {
			t.Errorf("record %d: value of %d bytes, nil %t", i, len(got.Value), got.Value == nil)
		}
		if !got.Timestamp.Equal(want.Timestamp.Truncate(time.Millisecond)) || got.Timestamp.Location() != time.UTC {
			t.Errorf("record %d: timestamp %s, want %s", i, got.Timestamp, want.Timestamp)
		}
	}
	want := []schemas.Header{{Key: "h", Value: []byte("1")}, {Key: "h", Value: []byte("2")}, {}, {Key: "e", Value: []byte{}}}
	if got := res.Records[2].Headers; fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
		t.Errorf("headers %#v, want %#v", got, want)
	}
}

func TestFetchReadsEveryCodec(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	var want []string
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		p := w.plainProducer(kgo.ProducerBatchCompression(codec))
		values := make([]string, 300)
		for i := range values {
			values[i] = fmt.Sprintf("%s %d %s", name, i, strings.Repeat("-", i))
		}
		put(t, p, "t", 0, values...)
		want = append(want, values...)
	}
	if got, _, _ := readAll(t, w.client(), "t", 0, 10_000); !slices.Equal(got, want) {
		t.Errorf("got %d records, want %d; or they differ", len(got), len(want))
	}
}

func TestFetchReturnsBatchLargerThanMaxBytes(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	p := w.plainProducer()
	want := []string{strings.Repeat("a", 300_000), "b", strings.Repeat("c", 200_000)}
	for _, v := range want {
		put(t, p, "t", 0, v)
	}
	got, _, fetches := readAll(t, w.client(), "t", 0, 1000)
	if !slices.Equal(got, want) || fetches < 3 {
		t.Errorf("%d records in %d fetches", len(got), fetches)
	}
}

func TestFetchOutsideTheLog(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	put(t, w.plainProducer(), "t", 0, "a", "b", "c", "d")
	if err := w.cluster.DeleteRecords("t", 0, 2); err != nil {
		t.Fatal(err)
	}
	c := w.client()
	for _, offset := range []int64{0, 1, 5, 1 << 40} {
		res, err := c.Fetch(t.Context(), FetchRequest{Topic: "t", Offset: offset})
		wantCode(t, err, CodeOutOfRange)
		if res.Next != 0 || res.Records != nil {
			t.Errorf("offset %d: %+v beside an error", offset, res)
		}
	}
	for offset, want := range map[int64]int{2: 2, 3: 1, 4: 0} {
		res, err := c.Fetch(t.Context(), FetchRequest{Topic: "t", Offset: offset})
		if err != nil || len(res.Records) != want || res.Next != 4 || res.LogStart != 2 {
			t.Errorf("offset %d: %+v, %v", offset, res, err)
		}
	}
}

func TestFetchOfUnknownTopic(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		c := w.client()
		for _, req := range []FetchRequest{{Topic: "none"}, {Topic: "t", Partition: 7}} {
			start := time.Now()
			_, err := c.Fetch(t.Context(), req)
			wantCode(t, err, CodeUnknownTopic)
			if took := time.Since(start); took < metadataTTL || took > 2*metadataTTL {
				t.Errorf("%+v: given up after %s", req, took)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err = c.Fetch(ctx, req)
			wantCode(t, err, CodeCanceled)
			cancel()
		}
	})
}

func TestFetchFindsTopicThatIsNew(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		c := w.client()
		if _, err := c.Fetch(t.Context(), FetchRequest{Topic: "t"}); err != nil {
			t.Fatal(err)
		}
		// kafka-go's picture of the cluster is older than what follows.
		if err := w.cluster.CreateTopic("later", 1, nil); err != nil {
			t.Fatal(err)
		}
		put(t, w.plainProducer(), "later", 0, "x")
		res, err := c.Fetch(t.Context(), FetchRequest{Topic: "later"})
		if err != nil || len(res.Records) != 1 {
			t.Fatalf("%+v, %v", res, err)
		}
	})
}

func TestFetchOfRecreatedTopic(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		p, c := w.plainProducer(), w.client()
		put(t, p, "t", 0, "a", "b", "c")
		if got, _, _ := readAll(t, c, "t", 0, 0); len(got) != 3 {
			t.Fatal(got)
		}
		if err := w.cluster.DeleteTopic("t"); err != nil {
			t.Fatal(err)
		}
		if err := w.cluster.CreateTopic("t", 1, nil); err != nil {
			t.Fatal(err)
		}
		put(t, w.plainProducer(), "t", 0, "new")
		_, err := c.Fetch(t.Context(), FetchRequest{Topic: "t", Offset: 3})
		wantCode(t, err, CodeOutOfRange)
		if got, _, _ := readAll(t, c, "t", 0, 0); !slices.Equal(got, []string{"new"}) {
			t.Errorf("got %v", got)
		}
	})
}

func TestFetchReturnsAtOnceWhenContextEnds(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		c := w.client()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		start := time.Now()
		go func() {
			_, err := c.Fetch(ctx, FetchRequest{Topic: "t", MaxWait: time.Minute})
			done <- err
		}()
		synctest.Wait() // the broker holds the fetch
		cancel()
		wantCode(t, <-done, CodeCanceled)
		if took := time.Since(start); took != 0 {
			t.Errorf("took %s", took)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("closing took %s", took)
		}
		_, err := c.Fetch(t.Context(), FetchRequest{Topic: "t"})
		wantCode(t, err, CodeCanceled)
	})
}

// A time limit of our own is not the caller's: who waits for the brokers must
// not be told that it gave up.
func TestFetchFromSilentBroker(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		w.mute(kmsg.Fetch)
		start := time.Now()
		_, err := w.client().Fetch(t.Context(), FetchRequest{Topic: "t", MaxWait: time.Second})
		wantCode(t, err, CodeUnavailable)
		if took := time.Since(start); took != requestTimeout+time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestFetchReportsBrokerErrors(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	c := w.client()
	for err, want := range map[*kerr.Error]ErrorCode{
		kerr.TopicAuthorizationFailed: CodeDenied,
		kerr.NotLeaderForPartition:    CodeUnavailable,
		kerr.OffsetOutOfRange:         CodeOutOfRange,
		kerr.KafkaStorageError:        CodeUnavailable,
	} {
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "t", Err: err})
		_, got := c.Fetch(t.Context(), FetchRequest{Topic: "t"})
		fault.Remove()
		wantCode(t, got, want)
		if !strings.Contains(got.Error(), "fetch t/0 at 0") {
			t.Errorf("%v does not say what was done", got)
		}
	}
	top := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, TopLevel: true, Err: kerr.UnknownServerError})
	defer top.Remove()
	_, err := c.Fetch(t.Context(), FetchRequest{Topic: "t"})
	wantCode(t, err, CodeUnavailable)
}
