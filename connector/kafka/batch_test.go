package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// wireBatch is a v2 batch as it stands in a log. offsets are those of the
// records that compaction has left; the batch reaches from base to last.
type wireBatch struct {
	base, last int64
	producer   int64
	attributes int16
	offsets    []int64
	key        []byte
}

const (
	attrTransactional = 1 << 4
	attrControl       = 1 << 5
)

var (
	keyAbort  = []byte{0, 0, 0, 0}
	keyCommit = []byte{0, 0, 0, 1}
)

func (b wireBatch) encode() []byte {
	var records []byte
	for _, o := range b.offsets {
		r := kmsg.Record{OffsetDelta: int32(o - b.base), Key: b.key, Value: fmt.Appendf(nil, "v%d", o)}
		r.Length = int32(len(r.AppendTo(nil)) - 1) // the length of a length of zero
		records = r.AppendTo(records)
	}
	raw := (&kmsg.RecordBatch{
		FirstOffset: b.base, Magic: 2, Attributes: b.attributes, LastOffsetDelta: int32(b.last - b.base),
		ProducerID: b.producer, FirstSequence: -1, NumRecords: int32(len(b.offsets)), Records: records,
	}).AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// recordSet is what kafka-go makes of the bytes of a fetch answer.
func recordSet(t interface{ Fatal(...any) }, raw []byte) protocol.RecordSet {
	var rs protocol.RecordSet
	framed := append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...)
	if _, err := rs.ReadFrom(bytes.NewBuffer(framed)); err != nil {
		t.Fatal(err)
	}
	return rs
}

func TestSplitBatches(t *testing.T) {
	in := []wireBatch{
		{base: 10, last: 12, producer: -1, offsets: []int64{10, 11, 12}},
		{base: 13, last: 14, producer: 7, attributes: attrTransactional, offsets: []int64{13, 14}},
		{base: 15, last: 19, producer: 7, attributes: attrTransactional}, // compacted to nothing
		{base: 20, last: 20, producer: 7, attributes: attrTransactional | attrControl, offsets: []int64{20}, key: keyAbort},
		{base: 21, last: 21, producer: 8, attributes: attrTransactional | attrControl, offsets: []int64{21}, key: keyCommit},
		{base: 22, last: 22, producer: 9, attributes: attrControl, offsets: []int64{22}, key: []byte{0, 0, 0, 2, 9}}, // a type of later days
		{base: 23, last: 23, producer: 9, attributes: attrTransactional | attrControl},                               // compacted to nothing
	}
	var raw []byte
	for _, b := range in {
		raw = append(raw, b.encode()...)
	}
	got, err := splitBatches(recordSet(t, append(raw, in[0].encode()[:30]...))) // answers are cut within a batch
	if err != nil || len(got) != len(in) {
		t.Fatalf("%d batches, %v", len(got), err)
	}
	for i, b := range got {
		want := in[i]
		control := want.attributes&attrControl != 0
		transactional := want.attributes&attrTransactional != 0 || control
		aborts := control && bytes.Equal(want.key, keyAbort)
		if b.base != want.base || b.producerID != want.producer || b.control != control || b.transactional != transactional || b.aborts != aborts {
			t.Errorf("batch %d: %+v", i, b)
		}
		if offsets := drain(t, b.records); !slices.Equal(offsets, want.offsets) {
			t.Errorf("batch %d: offsets %v, want %v", i, offsets, want.offsets)
		}
	}
}

func TestAbortedFilterSparesPlainBatches(t *testing.T) {
	f := newAbortedFilter([]fetch.ResponseTransaction{{ProducerID: 7, FirstOffset: 10}})
	if f.drop(batch{base: 11, producerID: 7}) || !f.drop(batch{base: 12, producerID: 7, transactional: true}) {
		t.Error("what is not transactional cannot be aborted")
	}
}

func drain(t *testing.T, r protocol.RecordReader) (offsets []int64) {
	t.Helper()
	for {
		rec, err := r.ReadRecord()
		if errors.Is(err, io.EOF) {
			return offsets
		}
		if err != nil {
			t.Fatal(err)
		}
		offsets = append(offsets, rec.Offset)
	}
}

func TestSplitBatchesOfNothing(t *testing.T) {
	if got, err := splitBatches(protocol.RecordSet{}); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := splitBatches(protocol.RecordSet{Records: protocol.NewRecordReader()}); err == nil {
		t.Error("a record set of another kind is not an error")
	}
}

// Message formats 0 and 1 are what very old logs hold.
func TestSplitBatchesOfOldFormat(t *testing.T) {
	var buf bytes.Buffer
	rs := protocol.RecordSet{Version: 1, Records: protocol.NewRecordReader(
		protocol.Record{Offset: 0, Value: protocol.NewBytes([]byte("a"))}, protocol.Record{Offset: 1, Value: protocol.NewBytes([]byte("b"))},
	)}
	if _, err := rs.WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	batches, err := splitBatches(recordSet(t, buf.Bytes()[4:]))
	if err != nil || len(batches) != 2 {
		t.Fatalf("%d batches, %v", len(batches), err)
	}
	var out Fetched
	filter := newAbortedFilter([]fetch.ResponseTransaction{{ProducerID: -1, FirstOffset: 0}})
	for _, b := range batches {
		if err := out.take(FetchRequest{}, b, filter); err != nil {
			t.Fatal(err)
		}
	}
	if len(out.Records) != 2 || string(out.Records[1].Value) != "b" {
		t.Errorf("got %+v", out)
	}
}

type badReader struct{}

func (badReader) ReadRecord() (*protocol.Record, error) { return nil, io.ErrUnexpectedEOF }

func TestBrokenBatchIsAnError(t *testing.T) {
	stream := &protocol.RecordStream{Records: []protocol.RecordReader{&protocol.ControlBatch{Records: badReader{}}}}
	if _, err := splitBatches(protocol.RecordSet{Records: stream}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("control batch: %v", err)
	}
	var out Fetched
	err := out.take(FetchRequest{}, batch{records: badReader{}}, newAbortedFilter(nil))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("data batch: %v", err)
	}
}

// TestAbortedFilterAgainstModel builds logs of interleaved transactions, with
// records, batches and markers lost to compaction, and reads them from every
// offset as a broker would answer.
func TestAbortedFilterAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := drawLog(t)
		from := rapid.Int64Range(0, log.end-1).Draw(t, "from")
		var raw []byte
		for _, b := range log.batches {
			if b.last >= from {
				raw = append(raw, b.encode()...)
			}
		}
		batches, err := splitBatches(recordSet(t, raw))
		if err != nil {
			t.Fatal(err)
		}
		filter := newAbortedFilter(log.abortedFrom(t, from))
		out := Fetched{Next: from}
		for _, b := range batches {
			if err := out.take(FetchRequest{Offset: from}, b, filter); err != nil {
				t.Fatal(err)
			}
		}
		var got, want []int64
		for _, r := range out.Records {
			got = append(got, r.Offset)
		}
		for _, o := range log.committed {
			if o >= from {
				want = append(want, o)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("from %d: got %v, want %v", from, got, want)
		}
		if out.Next < from || out.Next > log.end || (len(want) > 0 && out.Next <= want[len(want)-1]) {
			t.Errorf("from %d: next is %d", from, out.Next)
		}
	})
}
