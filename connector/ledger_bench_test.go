package connector

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

// recordedTopic is a ledger topic of many entries, made as they are read: one
// encoded entry in which the id, the body, the SID and the offset are written
// over. Restoring from it costs what decoding and remembering cost.
type recordedTopic struct {
	entries int
	decoded bool // hand over one entry again and again, with another id; decode none
}

func (recordedTopic) otherCount(context.Context, int) (int, error) { return 0, nil }

func (m recordedTopic) position(context.Context) (*schemas.Position, error) { return nil, nil }

func (m recordedTopic) ledger(_ context.Context, _ int64, _ time.Time, each func(schemas.LedgerEntry)) (int64, error) {
	s := succeeded(1_000_000_000, ledgerStart)
	s.body = testHash(0x0123456789)
	entry := s.entry(testHash(0x0123456789))
	value, err := entry.Encode()
	if err != nil {
		return 0, err
	}
	ids := rand.New(rand.NewPCG(1, 1))
	find := func(text string, from int) []byte {
		return value[from+bytes.Index(value[from:], []byte(text)):][:len(text)]
	}
	id, sid := find(entry.IDHash, 0), find(entry.ChallengeSID, 0)[2:]
	body := find(entry.Body, bytes.Index(value, []byte(`"body"`)))
	offset := find("1000000000", 0)
	for i := range m.entries {
		var h hash
		for j := range h {
			h[j] = byte(ids.Uint32())
		}
		if m.decoded {
			entry.IDHash = hex.EncodeToString(h[:])
			each(entry)
			continue
		}
		hex.Encode(id, h[:])
		hex.Encode(body, h[:])
		hex.Encode(sid, h[:])
		copy(offset, fmt.Sprintf("%10d", 1_000_000_000+i))
		e, err := readLedgerRecord(id, value)
		if err != nil {
			return 0, err
		}
		each(*e)
	}
	return int64(m.entries), nil
}

// heapBytes is what is in use after a collection.
func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkLedgerRestore says how long a partition waits for its memory, the
// broker and the network left out, and what an entry costs.
func BenchmarkLedgerRestore(b *testing.B) {
	for _, entries := range []int{100_000, 1_000_000} {
		for name, decoded := range map[string]bool{"records": false, "remembering": true} {
			b.Run(fmt.Sprintf("%s=%d", name, entries), func(b *testing.B) {
				topic := recordedTopic{entries: entries, decoded: decoded}
				var held uint64
				for b.Loop() {
					b.StopTimer()
					before := heapBytes()
					l := newLedger(time.Hour, newLedgerRoom(entries))
					b.StartTimer()
					mustRestore(b, l, topic, ledgerStart)
					b.StopTimer()
					held = heapBytes() - before
					if n := l.room.used.Load(); n != int64(entries) {
						b.Fatalf("%d entries are remembered", n)
					}
					b.StartTimer()
				}
				b.ReportMetric(float64(entries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
				b.ReportMetric(float64(held)/float64(entries), "bytes/entry")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// filledLedger has a million entries over its horizon, the last at ledgerStart.
func filledLedger(b *testing.B) *ledger {
	b.Helper()
	l := newLedger(time.Hour, newLedgerRoom(1))
	const entries = 1_000_000
	for i := range entries {
		l.add(spreadHash(i), failed(int64(i), ledgerStart.Add(-time.Hour/entries*time.Duration(entries-i))))
	}
	return l
}

// spreadHash is an id whose bytes look like those of a hash.
func spreadHash(i int) (h hash) {
	r := rand.New(rand.NewPCG(uint64(i), 7))
	for j := range h {
		h[j] = byte(r.Uint32())
	}
	return h
}

func BenchmarkLedgerLookup(b *testing.B) {
	l := filledLedger(b)
	ids := make([]hash, 4096)
	for i := range ids {
		ids[i] = spreadHash(i * 401) // two in five are known
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		l.lookup(ids[i%len(ids)], ledgerStart)
		i++
	}
}

// BenchmarkLedgerAdd is an entry that comes for one that goes.
func BenchmarkLedgerAdd(b *testing.B) {
	l := filledLedger(b)
	ids := make([]hash, 1<<20)
	for i := range ids {
		ids[i] = spreadHash(1_000_000 + i)
	}
	now, i := ledgerStart, 0
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Hour / 1_000_000)
		s := succeeded(int64(i), now)
		l.add(ids[i%len(ids)], s)
		l.expire(now)
		i++
	}
	b.ReportMetric(float64(l.room.used.Load()), "entries")
}

func BenchmarkMark(b *testing.B) {
	m, req := newMarker(markerConfig(withKey)), pinnedRequests()["create"]
	b.ReportAllocs()
	for b.Loop() {
		m.mark(req)
	}
}
