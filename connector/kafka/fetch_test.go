package kafka

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

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
