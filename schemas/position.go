package schemas

import (
	"fmt"
	"math"
	"time"
)

// Position says where a partition of the requests stands: what was committed for
// it, and enough beside that to see that the partition is still the one it was.
// It is the value of a record of the positions topic.
type Position struct {
	Version    string // 1.x; empty: Encode writes Version
	Group      string
	Topic      string // of the requests
	Partition  int
	Offset     int64       // the first that is not done: the one committed
	Metadata   string      // the text committed with it; empty: none
	Partitions int         // of the topic, at least one
	Last       *LastRecord // nil: nothing was read below Offset yet
	At         time.Time   // when it was written
}

// LastRecord is the last record below a position. Where another one stands
// there, the topic is not the one that it was.
type LastRecord struct {
	Offset int64
	Hash   string // of key, value and timestamp: 16 lower-case hexadecimal digits
}

// Key is the key of the record that holds p: group, topic and partition with
// slashes between them.
func (p Position) Key() string { return fmt.Sprintf("%s/%s/%d", p.Group, p.Topic, p.Partition) }

// Encode returns the position's bytes. It refuses, with an *EncodeError, whatever
// DecodePosition would refuse.
func (p Position) Encode() ([]byte, error) {
	w := writer{buf: make([]byte, 0, 384+len(p.Metadata))}
	w.open()
	w.text("version", versionOr(p.Version))
	w.text("group", p.Group)
	w.text("topic", p.Topic)
	w.integer("partition", int64(p.Partition))
	w.integer("offset", p.Offset)
	w.optional("metadata", p.Metadata)
	w.integer("partitions", int64(p.Partitions))
	if p.Last != nil {
		w.begin("last")
		w.integer("offset", p.Last.Offset)
		w.text("hash", p.Last.Hash)
		w.close()
	}
	w.time("at", p.At)
	w.close()
	_, err := DecodePosition(w.buf)
	return encoded(w.buf, err)
}

// DecodePosition reads the value of a position record. The error, if any, is a
// *DecodeError without an ID, never of CodeNoID. Unknown fields are passed over
// in silence: nobody but Countersign writes these records.
func DecodePosition(data []byte) (p *Position, err error) {
	err = decodeOwn(data, &positionShape, func(o *object) {
		p = &Position{
			Group:      o.text("group", required, notEmpty),
			Topic:      o.text("topic", required, notEmpty),
			Partition:  o.count("partition", required, 0, MaxCount),
			Metadata:   o.text("metadata", optional, notEmpty),
			Partitions: o.count("partitions", required, 1, MaxCount),
		}
		p.Offset, _ = o.integer("offset", required, 0, math.MaxInt64)
		o.inner("last", optional, func(in *object) {
			p.Last = &LastRecord{Hash: in.text("hash", required, shortHashRule)}
			p.Last.Offset, _ = in.integer("offset", required, 0, math.MaxInt64)
		})
		p.At = moment(o.time("at", required))
	}, func(version string) { p.Version = version })
	if err != nil {
		return nil, err
	}
	return p, nil
}

var (
	lastShape     = shape{names: []string{"offset", "hash"}}
	positionShape = shape{
		names: []string{"version", "group", "topic", "partition", "offset", "metadata", "partitions", "last", "at"},
		inner: map[string]*shape{"last": &lastShape},
	}
)
