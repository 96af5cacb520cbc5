package kafka

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/schemas"
)

// kafka-go writes the same bytes, apart from what makes a batch its producer's.
func TestEncodeBatchAgreesWithKafkaGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.Byte(), 0, 200))
		now := time.UnixMilli(1_767_000_000_000)
		var msgs []*Message
		var records []protocol.Record
		for range rapid.IntRange(1, 20).Draw(t, "messages") {
			m := &Message{Key: text.Draw(t, "key"), Value: text.Draw(t, "value")}
			r := protocol.Record{Key: protocol.NewBytes(m.Key), Value: protocol.NewBytes(m.Value), Time: now}
			if at := rapid.Int64Range(0, 1<<40).Draw(t, "time"); at > 0 {
				m.Timestamp = time.UnixMilli(at)
				r.Time = m.Timestamp
			}
			for range rapid.IntRange(0, 3).Draw(t, "headers") {
				name, value := rapid.String().Draw(t, "name"), text.Draw(t, "header")
				m.Headers = append(m.Headers, schemas.Header{Key: name, Value: value})
				r.Headers = append(r.Headers, protocol.Header{Key: name, Value: value})
			}
			msgs, records = append(msgs, m), append(records, r)
		}
		s := stamp{
			producer: rapid.Int64().Draw(t, "producer"), epoch: rapid.Int16().Draw(t, "epoch"),
			sequence: rapid.Int32().Draw(t, "sequence"), transactional: rapid.Bool().Draw(t, "transactional"),
		}
		set := protocol.RecordSet{Version: 2, Records: protocol.NewRecordReader(records...)}
		if s.transactional {
			set.Attributes = protocol.Transactional
		}
		var out bytes.Buffer
		if _, err := set.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		want := out.Bytes()
		b := want[sizePrefix:]
		binary.BigEndian.PutUint64(b[batchProducerID:], uint64(s.producer))
		binary.BigEndian.PutUint16(b[batchEpoch:], uint16(s.epoch))
		binary.BigEndian.PutUint32(b[batchSequence:], uint32(s.sequence))
		binary.BigEndian.PutUint32(b[batchCRC:], crc32.Checksum(b[batchAttributes:], castagnoli))
		if got := encodeBatch(msgs, s, now); !bytes.Equal(got, want) {
			t.Fatalf("got  %x\nwant %x", got, want)
		}
	})
}
