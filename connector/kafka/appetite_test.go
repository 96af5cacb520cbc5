package kafka

import (
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// asked are the bounds of the fetches that a scan of everything makes.
func (w *world) asked(t *testing.T, want int) (bounds []int) {
	t.Helper()
	var mu sync.Mutex
	w.cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		bounds = append(bounds, int(req.(*kmsg.FetchRequest).Topics[0].Partitions[0].PartitionMaxBytes))
		return nil, nil, false
	})
	n := 0
	for _, err := range w.client().Scan(t.Context(), "t", 0, 0, int64(want)) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != want {
		t.Errorf("%d records, want %d", n, want)
	}
	mu.Lock()
	defer mu.Unlock()
	return bounds
}

// Each batch costs a page of 64 KiB while an answer is decoded.
func TestManySmallBatchesAreReadInSmallAnswers(t *testing.T) {
	const n = 3000
	w := newWorld(t, map[string]int32{"t": 1})
	p := w.franz(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(n), kgo.ProducerLinger(0), kgo.ProducerBatchMaxBytes(512), kgo.ProducerBatchCompression(kgo.NoCompression()))
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: "t", Value: []byte(strings.Repeat("x", 300))}
	}
	if err := p.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	bounds := w.asked(t, n)
	if bounds[0] != firstAppetite {
		t.Errorf("the first fetch asks for %d bytes", bounds[0])
	}
	for _, b := range bounds[1:] {
		// A batch takes about 370 bytes.
		if b > 2*370*batchesWanted {
			t.Errorf("a fetch asks for %d bytes, which is too many batches: %v", b, bounds)
			break
		}
	}
}

func TestLargeBatchesAreReadInLargeAnswers(t *testing.T) {
	const n = 1500
	w := newWorld(t, map[string]int32{"t": 1})
	p := w.plainProducer(kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range n / 100 {
		put(t, p, "t", 0, strings.Split(strings.Repeat(strings.Repeat("x", 4000)+" ", 100), " ")[:100]...)
	}
	bounds := w.asked(t, n)
	if last := bounds[len(bounds)-1]; last != 4<<20 || len(bounds) > 12 {
		t.Errorf("fetches ask for %v bytes", bounds)
	}
}

func TestAppetite(t *testing.T) {
	answer := func(batches, bytes int) Fetched {
		return Fetched{batches: batches, Records: []Record{{Value: make([]byte, bytes)}}}
	}
	for name, c := range map[string]struct {
		asked int
		got   Fetched
		want  int
	}{
		"nothing came":                   {firstAppetite, Fetched{}, firstAppetite},
		"little came":                    {firstAppetite, answer(1, 500), firstAppetite},
		"few batches fill it":            {firstAppetite, answer(4, firstAppetite), 4 * firstAppetite},
		"many batches fill it":           {firstAppetite, answer(batchesWanted-1, firstAppetite), firstAppetite},
		"too many batches":               {firstAppetite, answer(4*batchesWanted, firstAppetite), firstAppetite / 4},
		"far too many batches":           {firstAppetite, answer(100*batchesWanted, firstAppetite), leastAppetite},
		"a caller who wanted one record": {1, answer(1, 500), firstAppetite},
	} {
		var a appetite
		a.note(c.asked, c.got)
		if got := a.of(1 << 30); got != c.want {
			t.Errorf("%s: it asks for %d bytes next, want %d", name, got, c.want)
		}
		if got := a.of(100); got != 100 {
			t.Errorf("%s: it asks for %d bytes of 100", name, got)
		}
	}
}
