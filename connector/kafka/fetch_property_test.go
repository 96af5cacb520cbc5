package kafka

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

// partitionModel says what a read_committed reader must see of a partition.
type partitionModel struct {
	visible map[int64]string
	open    [3]map[int64]string // by producer; nil: no transaction
	end     int64
}

// lastStable is the first offset of the oldest open transaction.
func (m *partitionModel) lastStable() int64 {
	stable := m.end
	for _, txn := range m.open {
		for o := range txn {
			stable = min(stable, o)
		}
	}
	return stable
}

func (m *partitionModel) read(from int64) (values []string) {
	var offsets []int64
	for o := range m.visible {
		if o >= from && o < m.lastStable() {
			offsets = append(offsets, o)
		}
	}
	slices.Sort(offsets)
	for _, o := range offsets {
		values = append(values, m.visible[o])
	}
	return values
}

// TestFetchAgainstModel lets producers with and without transactions write at
// once and compares what Fetch returns at any moment with what they did.
func TestFetchAgainstModel(t *testing.T) {
	inBubble(t, nil, fetchAgainstModel)
}

func fetchAgainstModel(t *testing.T, w *world) {
	c, plain := w.client(), w.plainProducer()
	var producers [3]*kgo.Client
	for i := range producers {
		producers[i] = w.txnProducer(fmt.Sprint("producer ", i))
	}
	topics := 0
	// Embedded, because rapid asks a *testing.T for its deadline, and a bubble
	// has none.
	rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
		topics++
		topic := fmt.Sprint("t", topics)
		if err := w.cluster.CreateTopic(topic, 1, nil); err != nil {
			rt.Fatal(err)
		}
		m := &partitionModel{visible: map[int64]string{}}
		defer func() {
			for i, txn := range m.open {
				if txn != nil {
					end(t, producers[i], kgo.TryAbort)
				}
			}
		}()
		write := func(p *kgo.Client, into map[int64]string) {
			values := make([]string, rapid.IntRange(1, 4).Draw(rt, "records"))
			for i := range values {
				values[i] = fmt.Sprint("v", m.end+int64(i))
			}
			first := put(t, p, topic, 0, values...)
			if first != m.end {
				rt.Fatalf("written at %d, the log ends at %d", first, m.end)
			}
			for i, v := range values {
				into[first+int64(i)] = v
			}
			m.end += int64(len(values))
		}
		rt.Repeat(map[string]func(*rapid.T){
			"plain": func(*rapid.T) { write(plain, m.visible) },
			"transactional": func(rt *rapid.T) {
				i := rapid.IntRange(0, 2).Draw(rt, "producer")
				if m.open[i] == nil {
					begin(t, producers[i])
					m.open[i] = map[int64]string{}
				}
				write(producers[i], m.open[i])
			},
			"end": func(rt *rapid.T) {
				i := rapid.IntRange(0, 2).Draw(rt, "producer")
				if m.open[i] == nil {
					return
				}
				commit := rapid.Bool().Draw(rt, "commit")
				end(t, producers[i], kgo.TransactionEndTry(commit))
				for o, v := range m.open[i] {
					if commit {
						m.visible[o] = v
					}
				}
				m.open[i] = nil
				m.end++ // the marker
			},
			"read": func(rt *rapid.T) {
				if m.end == 0 {
					return
				}
				from := rapid.Int64Range(0, m.lastStable()).Draw(rt, "from")
				got, last, _ := readAll(t, c, topic, from, rapid.SampledFrom([]int{1, 150, 0}).Draw(rt, "max bytes"))
				if want := m.read(from); !slices.Equal(got, want) {
					rt.Fatalf("from %d: got %v, want %v", from, got, want)
				}
				if last.LastStable != m.lastStable() || last.Next != max(from, m.lastStable()) {
					rt.Fatalf("from %d: ends with next %d, last stable %d, want %d", from, last.Next, last.LastStable, m.lastStable())
				}
			},
		})
	})
}

// TestScanIsAWindow compares Scan with the same cut out of everything.
func TestScanIsAWindow(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	plain, p := w.plainProducer(), w.txnProducer("p")
	for i := range 10 {
		put(t, plain, "t", 0, fmt.Sprint(2*i), fmt.Sprint(2*i+1))
		begin(t, p)
		put(t, p, "t", 0, "x", "y")
		end(t, p, kgo.TransactionEndTry(i%2 == 0))
	}
	c := w.client()
	var all []Record
	for r, err := range c.Scan(t.Context(), "t", 0, 0, 1000) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	if len(all) != 30 {
		t.Fatalf("%d records, want 20 plain and 10 committed", len(all))
	}
	rapid.Check(t, func(rt *rapid.T) {
		from, to := rapid.Int64Range(0, 50).Draw(rt, "from"), rapid.Int64Range(0, 60).Draw(rt, "end")
		stop := rapid.IntRange(1, 40).Draw(rt, "break after")
		var got, want []int64
		for _, r := range all {
			if r.Offset >= from && r.Offset < to && len(want) < stop {
				want = append(want, r.Offset)
			}
		}
		for r, err := range c.Scan(context.WithoutCancel(t.Context()), "t", 0, from, to) {
			if err != nil {
				rt.Fatal(err)
			}
			if got = append(got, r.Offset); len(got) == stop {
				break
			}
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("[%d, %d): got %v, want %v", from, to, got, want)
		}
	})
}
