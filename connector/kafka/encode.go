package kafka

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// The version 2 batch header, by byte offsets (Kafka protocol, "Record
// Batch"). Before it, where kafka-go expects it, is the size of the whole as an int32.
const (
	sizePrefix      = 4
	batchLength     = 8 // counts what comes after it
	batchLeader     = 12
	batchMagic      = 16
	batchCRC        = 17
	batchAttributes = 21 // the checksum covers everything from here on
	batchLastDelta  = 23
	batchFirstTime  = 27
	batchLastTime   = 35
	batchProducerID = 43
	batchEpoch      = 51
	batchSequence   = 53
	batchCount      = 57
	batchRecords    = 61

	attributeTransactional = 1 << 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stamp is what makes a batch its producer's own: the broker drops a batch
// whose sequence it has seen and refuses one that leaves a gap.
type stamp struct {
	producer      int64
	epoch         int16
	sequence      int32
	transactional bool
}

// encodeBatch writes messages, of which there is one at least, as one batch with
// its size before it. A message without a timestamp gets now. kafka-go's own way
// knows no idempotent producer, and goes over pages and readers that cost several
// times as much.
func encodeBatch(msgs []*Message, s stamp, now time.Time) []byte {
	size := sizePrefix + batchRecords
	for _, m := range msgs {
		size += int(m.Size())
	}
	out := make([]byte, sizePrefix+batchRecords, size)
	first, last := int64(0), int64(0)
	var record []byte
	for i, m := range msgs {
		at := m.Timestamp
		if at.IsZero() {
			at = now
		}
		t := at.UnixMilli()
		if i == 0 {
			first = t
		}
		last = max(last, t)
		record = appendRecord(record[:0], m, t-first, int64(i))
		out = binary.AppendVarint(out, int64(len(record)))
		out = append(out, record...)
	}
	b := out[sizePrefix:]
	binary.BigEndian.PutUint32(out, uint32(len(b)))
	binary.BigEndian.PutUint32(b[batchLength:], uint32(len(b)-batchLeader))
	binary.BigEndian.PutUint32(b[batchLeader:], 1<<32-1) // -1: not known
	b[batchMagic] = 2
	if s.transactional {
		binary.BigEndian.PutUint16(b[batchAttributes:], attributeTransactional)
	}
	binary.BigEndian.PutUint32(b[batchLastDelta:], uint32(len(msgs)-1))
	binary.BigEndian.PutUint64(b[batchFirstTime:], uint64(first))
	binary.BigEndian.PutUint64(b[batchLastTime:], uint64(last))
	binary.BigEndian.PutUint64(b[batchProducerID:], uint64(s.producer))
	binary.BigEndian.PutUint16(b[batchEpoch:], uint16(s.epoch))
	binary.BigEndian.PutUint32(b[batchSequence:], uint32(s.sequence))
	binary.BigEndian.PutUint32(b[batchCount:], uint32(len(msgs)))
	binary.BigEndian.PutUint32(b[batchCRC:], crc32.Checksum(b[batchAttributes:], castagnoli))
	return out
}

// appendRecord writes a record without the length before it.
func appendRecord(b []byte, m *Message, after, number int64) []byte {
	b = append(b, 0) // attributes: none is defined
	b = binary.AppendVarint(b, after)
	b = binary.AppendVarint(b, number)
	b = appendBytes(b, m.Key)
	b = appendBytes(b, m.Value)
	b = binary.AppendVarint(b, int64(len(m.Headers)))
	for _, h := range m.Headers {
		b = binary.AppendVarint(b, int64(len(h.Key)))
		b = append(b, h.Key...)
		b = appendBytes(b, h.Value)
	}
	return b
}

// appendBytes writes nil as Kafka's null.
func appendBytes(b, value []byte) []byte {
	if value == nil {
		return binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(b, int64(len(value))), value...)
}

// nextSequence is the sequence after n records from seq on. It wraps to zero
// behind the largest int32.
func nextSequence(seq int32, n int) int32 {
	return int32((int64(seq) + int64(n)) & 0x7fffffff)
}
