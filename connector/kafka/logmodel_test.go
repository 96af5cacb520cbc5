package kafka

import (
	"slices"

	"github.com/segmentio/kafka-go/protocol/fetch"
	"pgregory.net/rapid"
)

// modelTxn is one transaction of a modelLog. marker is -1 while it is open.
type modelTxn struct {
	producer, first, marker int64
	aborted                 bool
	offsets                 []int64
}

// modelLog is a partition whose truth is known.
type modelLog struct {
	batches   []wireBatch
	txns      []*modelTxn
	committed []int64 // offsets of data records that a reader must get
	end       int64   // last stable offset; the log is cut there
}

// drawLog writes with up to three transactional producers and a plain one at
// once and then compacts at random.
func drawLog(t *rapid.T) *modelLog {
	l := &modelLog{}
	open := map[int64]*modelTxn{}
	steps := rapid.IntRange(1, 40).Draw(t, "steps")
	for range steps {
		producer := rapid.Int64Range(-1, 2).Draw(t, "producer")
		txn := open[producer]
		if txn != nil && rapid.Bool().Draw(t, "end") {
			l.endTxn(txn, rapid.Bool().Draw(t, "abort"))
			delete(open, producer)
			continue
		}
		l.append(t, producer, open)
	}
	for _, producer := range []int64{0, 1, 2} {
		if txn := open[producer]; txn != nil {
			l.endTxn(txn, rapid.Bool().Draw(t, "abort"))
		}
	}
	for _, txn := range l.txns {
		if !txn.aborted {
			l.committed = append(l.committed, txn.offsets...)
		}
	}
	slices.Sort(l.committed)
	l.compact(t)
	return l
}

func (l *modelLog) append(t *rapid.T, producer int64, open map[int64]*modelTxn) {
	n := rapid.Int64Range(1, 5).Draw(t, "records")
	b := wireBatch{base: l.end, last: l.end + n - 1, producer: producer}
	for o := b.base; o <= b.last; o++ {
		b.offsets = append(b.offsets, o)
	}
	switch {
	case producer < 0:
		l.committed = append(l.committed, b.offsets...)
	default:
		b.attributes = attrTransactional
		if open[producer] == nil {
			open[producer] = &modelTxn{producer: producer, first: b.base, marker: -1}
			l.txns = append(l.txns, open[producer])
		}
		open[producer].offsets = append(open[producer].offsets, b.offsets...)
	}
	l.batches = append(l.batches, b)
	l.end += n
}

func (l *modelLog) endTxn(txn *modelTxn, abort bool) {
	key := keyCommit
	if abort {
		key = keyAbort
	}
	txn.marker, txn.aborted = l.end, abort
	l.batches = append(l.batches, wireBatch{
		base: l.end, last: l.end, producer: txn.producer, attributes: attrTransactional | attrControl,
		offsets: []int64{l.end}, key: key,
	})
	l.end++
}

// compact removes data records, leaves some batches empty and removes others.
// Markers stay: a cleaner keeps an abort marker while data of its transaction
// is left.
func (l *modelLog) compact(t *rapid.T) {
	var kept []wireBatch
	for _, b := range l.batches {
		if b.attributes&attrControl == 0 {
			b.offsets = slices.DeleteFunc(b.offsets, func(o int64) bool {
				if rapid.IntRange(0, 3).Draw(t, "compacted") > 0 {
					return false
				}
				l.committed = slices.DeleteFunc(l.committed, func(c int64) bool { return c == o })
				return true
			})
			if len(b.offsets) == 0 && rapid.Bool().Draw(t, "gone") {
				continue
			}
		}
		kept = append(kept, b)
	}
	l.batches = kept
}

// abortedFrom is what a broker lists beside an answer from an offset to the
// end: the aborted transactions that reach into it, in no particular order.
func (l *modelLog) abortedFrom(t *rapid.T, from int64) (out []fetch.ResponseTransaction) {
	for _, txn := range l.txns {
		if txn.aborted && txn.marker >= from {
			out = append(out, fetch.ResponseTransaction{ProducerID: txn.producer, FirstOffset: txn.first})
		}
	}
	return rapid.Permutation(out).Draw(t, "aborted")
}
