package kafka

import (
	"time"

	"github.com/countersign/countersign/schemas"
)

// Record is one committed data record as it was read. A nil Key or Value is
// Kafka's null, an empty one is a present, empty value.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	Key       []byte
	Value     []byte
	Headers   []schemas.Header
	// Timestamp is the producer's, in milliseconds, UTC. That is so on a topic
	// with message.timestamp.type=LogAppendTime too: kafka-go does not give the
	// broker's.
	Timestamp time.Time
}

// Size is about how many bytes the record takes in memory and on the wire.
func (r *Record) Size() int64 {
	n := len(r.Key) + len(r.Value) + recordOverhead
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return int64(n)
}

// recordOverhead stands for the fixed part of a record: its framing on the
// wire and its struct in memory.
const recordOverhead = 96

// Message is a record to produce.
type Message struct {
	Topic string
	// Partition is where it goes. Nil: chosen from the key as the Java client
	// does (murmur2), or at random where the key is nil.
	Partition *int
	Key       []byte
	Value     []byte
	Headers   []schemas.Header
	Timestamp time.Time // zero: the time of sending
}

// Size is about how many bytes the message takes on the wire.
func (m *Message) Size() int64 {
	n := len(m.Key) + len(m.Value) + recordOverhead
	for _, h := range m.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return int64(n)
}

// Fetched is the answer to one fetch.
type Fetched struct {
	// Records are committed data records at or above the offset asked for, in
	// offset order. It may be empty.
	Records []Record
	// Next is where to go on: every offset below it has been returned or is
	// proven to hold no committed data record.
	Next int64
	// Absent are the offsets from the one asked for on, below Next, at which there
	// is no record of any kind, not an aborted one and no transaction's marker
	// either: compaction has removed them, or a deletion. In order, none empty.
	Absent []Range
	// LastStable is the first offset that is not yet readable under
	// read_committed, LogStart the first that is still retained. HighWatermark is
	// the first that is not yet replicated: what lies between it and LastStable
	// is held back by an open transaction.
	LastStable    int64
	HighWatermark int64
	LogStart      int64
	// Missed: the topic could not be found at first, so it may be another one now.
	Missed bool

	batches int // in the answer
}

// Position is what the group has committed for a partition.
type Position struct {
	// Offset is the next offset to read; -1 where nothing was committed.
	Offset int64
	// Metadata is the text that was committed with it.
	Metadata string
}
