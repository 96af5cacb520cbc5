package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// role is what a stream's topic holds.
type role uint8

const (
	requests role = iota
	results
	letters
)

// stream is one partition on its way through an audit. Its fields are exported for
// a saved state.
type stream struct {
	Role  role
	Span  OffsetSpan // what is read
	Next  int64      // where to go on
	Stamp int64      // timestamp of the last record read, ms: the stream that is behind goes first
	Tree  tree       // over those records that belong to the window
	// Absent is the last run of offsets without any record, as it may go on in the
	// next page.
	Absent kafka.Range
	// Cut: the log of these answers may have begun earlier than it does now. Began:
	// a record of it was read, which says how far back it goes.
	Cut, Began bool

	pages *pages // nil: not begun
	busy  bool
	done  bool
}

// stray is a record that cannot be tied to a request of the window but by its
// time.
type stray struct {
	Kind   Kind
	Detail Detail
	At     uint64
	Stamp  int64
	Text   string
}

// haul is what one page of a stream holds, read outside of any lock.
type haul struct {
	asked   []asked
	answers []answered
	strays  []stray
	absent  []kafka.Range
	any     bool  // a record
	began   int64 // timestamp of the first one
}

// asked is one request record.
type asked struct {
	fact
	offset, stamp int64
}

const (
	minStamp = -62167219200000 // the year 0
	maxStamp = 253402300799999 // the year 9999, which is as far as RFC 3339 goes
)

func stampOf(t time.Time) int64 { return min(max(t.UnixMilli(), minStamp), maxStamp) }

func timeOf(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// reader decodes what a page holds. It belongs to one worker.
type reader struct {
	cfg        *Config
	windows    map[int]OffsetSpan // of the requests, by partition
	partitions int                // that the requests have
	scratch    []byte
}

// place packs where an answer stands: the stream's number and the offset.
func place(stream int, offset int64) uint64 { return uint64(stream)<<48 | uint64(offset) }

func unplace(at uint64) (stream int, offset int64) {
	return int(at >> 48), int64(at & (1<<48 - 1))
}

// read takes a page of a stream apart and adds its records to the stream's tree.
func (r *reader) read(number int, s *stream, got kafka.Fetched) haul {
	p := haul{absent: got.Absent, any: len(got.Records) > 0}
	if p.any {
		p.began = stampOf(got.Records[0].Timestamp)
	}
	for i := range got.Records {
		rec := &got.Records[i]
		s.Stamp = stampOf(rec.Timestamp)
		if s.Role == requests {
			a := asked{fact: requestFact(rec, r.cfg.NotAfter), offset: rec.Offset, stamp: s.Stamp}
			a.At = uint64(s.Stamp) // what is without an answer at the end needs it
			p.asked = append(p.asked, a)
			r.leaf(s, rec)
			continue
		}
		if r.leftOut(rec) {
			continue
		}
		at := place(number, rec.Offset)
		a, problem := r.answer(s.Role, rec, at)
		switch {
		case problem != nil:
			problem.Stamp = s.Stamp
			p.strays = append(p.strays, *problem)
		case r.covers(a.partition, a.offset):
			a.At, a.stamp = at, s.Stamp
			p.answers = append(p.answers, a)
			r.leaf(s, rec)
		}
	}
	return p
}

// leftOut reports whether an answer was written too late to be looked at.
func (r *reader) leftOut(rec *kafka.Record) bool {
	return !r.cfg.AnswersUntil.IsZero() && !rec.Timestamp.Before(r.cfg.AnswersUntil)
}

// covered is a results' record that answers a request of the window.
func (r *reader) covered(rec *kafka.Record) (*schemas.Result, answered, bool) {
	if r.leftOut(rec) {
		return nil, answered{}, false
	}
	res, a, problem := r.result(rec, 0)
	return res, a, problem == nil && r.covers(a.partition, a.offset)
}

func (r *reader) leaf(s *stream, rec *kafka.Record) {
	var leaf Hash
	leaf, r.scratch = leafOf(r.scratch, rec)
	s.Tree.add(rec.Offset, leaf)
}

// covers reports whether a request's coordinates are in the window.
func (r *reader) covers(partition int, offset int64) bool {
	w, ok := r.windows[partition]
	return ok && offset >= w.From && offset < w.To
}

// answer reads a result or dead letter, or says what is wrong with it. A record that
// cannot be tied to a request is in no tree, so what is said of it tells which one it
// is, without showing it.
func (r *reader) answer(role role, rec *kafka.Record, at uint64) (answered, *stray) {
	a, problem := r.fact(role, rec, at)
	if problem != nil {
		var leaf Hash
		leaf, r.scratch = leafOf(r.scratch, rec)
		problem.Text += " (record sha256:" + hex.EncodeToString(leaf[:8]) + ")"
	}
	return a, problem
}

func (r *reader) fact(role role, rec *kafka.Record, at uint64) (answered, *stray) {
	if role == letters {
		d, _, err := schemas.DecodeDeadLetter(rec.Headers)
		if err != nil {
			return answered{}, &stray{Kind: KindSchema, Detail: DetailNotALetter, At: at, Text: faultsOf(err)}
		}
		if d.Topic != r.cfg.Topics.Requests || d.Partition >= r.partitions {
			return answered{}, elsewhere(at, d.Topic, d.Partition, d.Offset)
		}
		return letterFact(rec, d), nil
	}
	_, a, problem := r.result(rec, at)
	return a, problem
}

// result reads a result, or says what is wrong with it.
func (r *reader) result(rec *kafka.Record, at uint64) (*schemas.Result, answered, *stray) {
	res, _, err := schemas.DecodeResult(rec.Value)
	if err != nil {
		return nil, answered{}, &stray{Kind: KindSchema, Detail: DetailNotAResult, At: at, Text: faultsOf(err)}
	}
	if res.Request.Topic != r.cfg.Topics.Requests || res.Request.Partition >= r.partitions {
		return nil, answered{}, elsewhere(at, res.Request.Topic, res.Request.Partition, res.Request.Offset)
	}
	if !r.covers(res.Request.Partition, res.Request.Offset) {
		return nil, answered{partition: res.Request.Partition, offset: res.Request.Offset}, nil
	}
	page, made := res.MadeBy(r.cfg.Group)
	if !made {
		return nil, answered{}, &stray{Kind: KindOrphan, Detail: DetailOtherGroup, At: at, Text: fmt.Sprintf(
			"its id is not the one that the group %s makes of the request at %s", r.cfg.Group, coordinates(res.Request.Topic, res.Request.Partition, res.Request.Offset))}
	}
	return res, resultFact(res, page), nil
}

// topicSize is how long Kafka lets a topic's name be: what claims to be one is whatever
// somebody wrote.
const topicSize = 249

func elsewhere(at uint64, topic string, partition int, offset int64) *stray {
	return &stray{Kind: KindOrphan, Detail: DetailElsewhere, At: at, Text: "it answers the request at " + coordinates(cut(topic, topicSize), partition, offset) + ", which is no partition that is audited"}
}

func coordinates(topic string, partition int, offset int64) string {
	return fmt.Sprintf("%s/%d@%d", topic, partition, offset)
}

// faultsOf is what is wrong with an event, the first faults of it.
func faultsOf(err error) string {
	d, ok := errors.AsType[*schemas.DecodeError](err)
	if !ok {
		return err.Error()
	}
	var text strings.Builder
	text.WriteString(string(d.Code))
	for i, f := range d.Faults[:min(3, len(d.Faults))] {
		text.WriteString([...]string{": ", "; ", "; "}[i] + f.String())
	}
	return text.String()
}
