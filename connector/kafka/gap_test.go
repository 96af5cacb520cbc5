package kafka

import (
	"errors"
	"math/bits"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

func TestGallopFindsEveryEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := rapid.Int64Range(0, 1<<50).Draw(t, "low")
		length := rapid.Int64Range(1, 1<<40).Draw(t, "length")
		probes := 0
		got, err := gallop(low, func(o int64) (bool, error) {
			probes++
			if o <= low {
				t.Fatalf("asks for %d, which is known", o)
			}
			return o < low+length, nil
		})
		if err != nil || got != low+length {
			t.Fatalf("got %d, %v, want %d", got, err, low+length)
		}
		if most := 2 * (bits.Len64(uint64(length)) + 1); probes > most {
			t.Fatalf("%d probes for a length of %d", probes, length)
		}
	})
}

func TestGallopStopsAtError(t *testing.T) {
	broken := errors.New("broken")
	for failAt := 1; failAt <= 6; failAt++ {
		probes := 0
		_, err := gallop(100, func(o int64) (bool, error) {
			if probes++; probes == failAt {
				return true, broken
			}
			return o < 112, nil
		})
		if !errors.Is(err, broken) || probes != failAt {
			t.Errorf("fails at probe %d: %v after %d", failAt, err, probes)
		}
	}
}

// serveLog makes the broker answer fetches from a log that a log cleaner has
// been through, which kfake's own cleaner does not leave behind: batches keep
// their first and last offset there, whatever is left in them.
func serveLog(w *world, log []wireBatch, end int64) (fetches *atomic.Int64) {
	fetches = new(atomic.Int64)
	w.cluster.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		fetches.Add(1)
		req := kreq.(*kmsg.FetchRequest)
		res := req.ResponseKind().(*kmsg.FetchResponse)
		p := kmsg.NewFetchResponseTopicPartition()
		p.HighWatermark, p.LastStableOffset, p.RecordBatches = end, end, []byte{}
		from, room := req.Topics[0].Partitions[0].FetchOffset, int(req.Topics[0].Partitions[0].PartitionMaxBytes)
		if from > end {
			p.ErrorCode = kerr.OffsetOutOfRange.Code
		}
		for _, b := range log {
			raw := b.encode()
			if b.last < from || len(p.RecordBatches) > 0 && len(p.RecordBatches)+len(raw) > room {
				continue
			}
			p.RecordBatches = append(p.RecordBatches, raw...)
		}
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic, topic.Partitions = req.Topics[0].Topic, append(topic.Partitions, p)
		res.Topics = append(res.Topics, topic)
		return res, nil, true
	})
	return fetches
}

func TestFetchGetsOverCompactedTails(t *testing.T) {
	const big = 1_000_000
	log := []wireBatch{
		{base: 0, last: 9, producer: -1, offsets: []int64{0, 3}},
		{base: 10, last: big - 1, producer: -1, offsets: []int64{10, 17}},
		{base: big, last: big + 99, producer: -1}, // empty
		{base: big + 150, last: big + 199, producer: -1, offsets: []int64{big + 170}},
		{base: big + 200, last: big + 299, producer: -1}, // empty, at the end
	}
	const end = big + 300
	for name, maxBytes := range map[string]int{"batch by batch": 1, "at once": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, map[string]int32{"t": 1})
			fetches := serveLog(w, log, end)
			c := w.client()
			for _, from := range []int64{0, 4, 9, 18, 500_000, big - 1, big + 1, big + 120, big + 171, big + 200, big + 299} {
				want := 0
				for _, b := range log {
					for _, o := range b.offsets {
						if o >= from {
							want++
						}
					}
				}
				before := fetches.Load()
				got, last, _ := readAll(t, c, "t", from, maxBytes)
				if len(got) != want || last.Next != end {
					t.Errorf("from %d: %v, ends with %+v", from, got, last)
				}
				if n := fetches.Load() - before; n > 90 {
					t.Errorf("from %d: %d fetches", from, n)
				}
			}
		})
	}
}

func TestFetchReportsErrorsOfTheSearch(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	serveLog(w, []wireBatch{{base: 0, last: 1000, producer: -1, offsets: []int64{0}}}, 1)
	c := w.client()
	if _, err := c.batchEnd(t.Context(), FetchRequest{Topic: "t", Offset: 5}, 0, 1_000_000); CodeOf(wrap(t.Context(), "search", err)) != CodeOutOfRange {
		t.Errorf("got %v", err)
	}
	if _, err := c.batchEnd(t.Context(), FetchRequest{Topic: "t", Offset: 5}, -1, 1_000_000); err == nil {
		t.Error("a batch without a base is searched for")
	}
}

// kfake's own cleaner leaves gaps between batches.
func TestFetchAfterCompaction(t *testing.T) {
	w := newWorld(t, nil)
	if err := w.cluster.CreateTopic("t", 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	p := w.plainProducer()
	for _, key := range []string{"a", "b", "b", "b", "a", "c", "c", "z"} {
		r := &kgo.Record{Topic: "t", Key: []byte(key), Value: []byte(key)}
		if err := p.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	w.cluster.Compact()
	start, err := w.client().Ranges(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	got, last, _ := readAll(t, w.client(), "t", start[0].Start, 1)
	if len(got) != 4 || last.Next != 8 {
		t.Errorf("got %v, ends with %+v", got, last)
	}
}
