package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

// batch is one record batch of a fetch answer with what the filter needs.
type batch struct {
	base          int64 // -1 where the format has none
	producerID    int64
	transactional bool
	control       bool
	aborts        bool // a control batch that ends its producer's transaction with an abort
	records       protocol.RecordReader
}

// splitBatches takes a record set apart. kafka-go's own reader of a record set
// hides which batch a record came from, and with it which transaction.
func splitBatches(rs protocol.RecordSet) ([]batch, error) {
	if rs.Records == nil {
		return nil, nil
	}
	stream, ok := rs.Records.(*protocol.RecordStream)
	if !ok {
		return nil, fmt.Errorf("unexpected record set of type %T", rs.Records)
	}
	out := make([]batch, 0, len(stream.Records))
	for _, r := range stream.Records {
		switch b := r.(type) {
		case *protocol.RecordBatch:
			out = append(out, batch{
				base: b.BaseOffset, producerID: b.ProducerID,
				transactional: b.Attributes.Transactional(), records: b.Records,
			})
		case *protocol.ControlBatch:
			cb, err := controlBatch(b)
			if err != nil {
				return nil, err
			}
			out = append(out, cb)
		default:
			// Message formats 0 and 1 know no transactions. What stands for
			// their batches has no exported type and no base offset; each of
			// its records has its own.
			out = append(out, batch{base: -1, producerID: -1, records: r})
		}
	}
	return out, nil
}

// controlBatch reads the marker inside: its type is the second int16 of the
// key, 0 for abort (Kafka protocol, "Control Batches").
func controlBatch(b *protocol.ControlBatch) (batch, error) {
	out := batch{base: b.BaseOffset, producerID: b.ProducerID, control: true, transactional: true}
	var offsets []protocol.Record
	for {
		// Records, not the batch itself: a ControlBatch's own reader parses
		// every key and fails on marker types that it does not know.
		rec, err := b.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return batch{}, err
		}
		key, err := protocol.ReadAll(rec.Key)
		if err != nil {
			return batch{}, err
		}
		if len(key) >= 4 && key[2] == 0 && key[3] == 0 {
			out.aborts = true
		}
		offsets = append(offsets, protocol.Record{Offset: rec.Offset, Time: rec.Time})
		if err := discard(rec); err != nil {
			return batch{}, err
		}
	}
	out.records = protocol.NewRecordReader(offsets...)
	return out, nil
}

// abortedFilter knows which producers are inside an aborted transaction while
// a fetch answer is walked in offset order.
type abortedFilter struct {
	pending []fetch.ResponseTransaction // by first offset
	inside  map[int64]bool              // producer ids
}

func newAbortedFilter(txns []fetch.ResponseTransaction) *abortedFilter {
	pending := slices.Clone(txns)
	slices.SortFunc(pending, func(a, b fetch.ResponseTransaction) int {
		return cmp.Compare(a.FirstOffset, b.FirstOffset)
	})
	return &abortedFilter{pending: pending, inside: map[int64]bool{}}
}

// drop reports whether a batch's records must not be delivered. Batches must
// come in offset order.
func (f *abortedFilter) drop(b batch) bool {
	for len(f.pending) > 0 && f.pending[0].FirstOffset <= b.base {
		f.inside[f.pending[0].ProducerID] = true
		f.pending = f.pending[1:]
	}
	if b.control {
		if b.aborts {
			delete(f.inside, b.producerID)
		}
		return true
	}
	return b.transactional && f.inside[b.producerID]
}
