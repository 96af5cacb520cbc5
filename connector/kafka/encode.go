package kafka

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/segmentio/kafka-go/protocol"
)

// The version 2 batch header, by byte offsets (Kafka protocol, "Record
// Batch"). What kafka-go writes begins with the size of the whole as an int32.
const (
	sizePrefix      = 4
	batchCRC        = 17
	batchAttributes = 21 // the checksum covers everything from here on
	batchProducerID = 43
	batchEpoch      = 51
	batchSequence   = 53
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

// encodeBatch writes records as one batch with its size before it. kafka-go
// knows no idempotent producer, so its header is stamped afterwards.
func encodeBatch(records []protocol.Record, s stamp) ([]byte, error) {
	set := protocol.RecordSet{Version: 2, Records: protocol.NewRecordReader(records...)}
	if s.transactional {
		set.Attributes = protocol.Transactional
	}
	var out bytes.Buffer
	if _, err := set.WriteTo(&out); err != nil {
		return nil, err
	}
	b := out.Bytes()[sizePrefix:]
	binary.BigEndian.PutUint64(b[batchProducerID:], uint64(s.producer))
	binary.BigEndian.PutUint16(b[batchEpoch:], uint16(s.epoch))
	binary.BigEndian.PutUint32(b[batchSequence:], uint32(s.sequence))
	binary.BigEndian.PutUint32(b[batchCRC:], crc32.Checksum(b[batchAttributes:], castagnoli))
	return out.Bytes(), nil
}

// nextSequence is the sequence after n records from seq on. It wraps to zero
// behind the largest int32.
func nextSequence(seq int32, n int) int32 {
	return int32((int64(seq) + int64(n)) & 0x7fffffff)
}

func toRecord(m *Message) protocol.Record {
	r := protocol.Record{Time: m.Timestamp, Key: protocol.NewBytes(m.Key), Value: protocol.NewBytes(m.Value)}
	if len(m.Headers) > 0 {
		r.Headers = make([]protocol.Header, len(m.Headers))
		for i, h := range m.Headers {
			r.Headers[i] = protocol.Header{Key: h.Key, Value: h.Value}
		}
	}
	return r
}
