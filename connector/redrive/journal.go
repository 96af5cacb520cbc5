package redrive

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// mark stands for one dead letter: a hash of the topic that it lies in, of where
// the record stood that it is made of, and of that record. So a dead letter that
// was published twice is one, a parked one is another than it was before, and a
// topic that was made anew is not taken for the old one.
type mark [16]byte

type marks map[mark]bool

func markOf(rec kafka.Record, d *schemas.DeadLetter) (m mark) {
	h := sha256.New()
	sized := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	sized([]byte(rec.Topic))
	sized([]byte(d.Topic))
	sized(fmt.Appendf(nil, "%d@%d %d", d.Partition, d.Offset, d.Timestamp.UnixNano()))
	sized(rec.Key)
	sized(rec.Value)
	copy(m[:], h.Sum(nil))
	return m
}

// journal is what was redriven so far.
type journal struct {
	exists bool
	next   int64 // offset to read on from
	marks  marks
	run    string // that reads it and writes to it
	own    marks  // of these: read back, and written by this run
}

// headerRun names the run on each of its marks, by which it knows them again
// after a transaction of which it was not told how it ended.
const headerRun = "run"

func newJournal() *journal {
	return &journal{marks: marks{}, run: rand.Text(), own: marks{}}
}

// read takes in what was written since the last time.
func (j *journal) read(ctx context.Context, r Reader, topic string) error {
	ranges, err := r.Ranges(ctx, topic)
	if kafka.CodeOf(err) == kafka.CodeUnknownTopic {
		return nil
	}
	if err != nil {
		return kafkaFailed(ctx, err)
	}
	if len(ranges) != 1 {
		return invalid("the journal %s must have one partition and has %d: give another name", topic, len(ranges))
	}
	j.exists = true
	for rec, err := range r.Scan(ctx, topic, 0, max(j.next, ranges[0].Start), ranges[0].End) {
		if err != nil {
			return kafkaFailed(ctx, err)
		}
		var m mark
		if n, err := hex.Decode(m[:], rec.Key[:min(len(rec.Key), hex.EncodedLen(len(m)))]); err != nil || hex.EncodedLen(n) != len(rec.Key) || n != len(m) {
			return invalid("%s is no journal of redrives: the record at offset %d is none of ours", topic, rec.Offset)
		}
		j.marks[m] = true
		if slices.ContainsFunc(rec.Headers, func(h schemas.Header) bool { return h.Key == headerRun && string(h.Value) == j.run }) {
			j.own[m] = true
		}
		j.next = rec.Offset + 1
	}
	j.next = max(j.next, ranges[0].End)
	return nil
}

// entry is the value of a journal record. It is for people and is never read
// back.
type entry struct {
	Version    string    `json:"version"`
	RequestID  string    `json:"request_id,omitempty"`
	DeadLetter standing  `json:"dead_letter"`
	Record     standing  `json:"record"` // that the dead letter was made of
	To         string    `json:"to"`
	Class      string    `json:"class"`
	Redrives   int       `json:"redrives"`
	At         time.Time `json:"at"`
}

type standing struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
}

// note is the journal's record of a letter that was sent.
func (j *job) note(l letter, to string, now time.Time) kafka.Message {
	value, err := json.Marshal(entry{
		Version: schemas.Version, RequestID: l.dead.RequestID,
		DeadLetter: standing{l.rec.Topic, l.rec.Partition, l.rec.Offset},
		Record:     standing{l.dead.Topic, l.dead.Partition, l.dead.Offset},
		To:         to, Class: string(l.dead.Class), Redrives: l.redrives, At: now.UTC(),
	})
	if err != nil {
		panic("redrive: a journal entry can't be encoded: " + err.Error()) // texts, numbers and a time of this century always can
	}
	return kafka.Message{
		Topic: j.cfg.Topics.Journal, Key: []byte(hex.EncodeToString(l.mark[:])), Value: value,
		Headers: []schemas.Header{{Key: headerRun, Value: []byte(j.journal.run)}},
	}
}
