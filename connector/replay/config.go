package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// Config says what Into writes where. Source, Target and Group must be set.
type Config struct {
	Source string // the topic of the results
	Target string // made if it does not exist
	// Live are topics that are never written to, whatever Target says: those that
	// the connector reads and writes.
	Live []string
	// Group is the consumer group that keeps the progress. It must be nobody
	// else's: not one of Connectors, and none that has committed an offset on the
	// target, or on a topic of requests that the results answer.
	Group string
	// Connectors are the consumer groups of connectors. A topic that one of them has
	// committed an offset on is live, too, so far as the brokers let that be read.
	Connectors []string

	Window Window
	Rate   float64 // records a second over all partitions; zero: as fast as possible
	// Restart begins at the window's start, whatever was written before. Without it
	// a run goes on where the last one of the same window and target ended.
	Restart bool
	// Progress is called now and then, by one goroutine at a time. Nil: not.
	Progress func(Progress)
}

// Window picks records. The zero value picks all that are there at the start.
type Window struct {
	// From and To bound the records' timestamps, To exclusively, as Kafka finds
	// offsets by time: from the first record that is not before From, below the
	// first that is not before To. Zero: unbounded.
	From, To time.Time
	// Offsets are the window for some partitions instead; the others are left out.
	// Empty: From and To count.
	Offsets []Span
}

// Span are offsets of one partition: from From on, below To.
type Span struct {
	Partition int   `json:"partition"`
	From      int64 `json:"from"`
	To        int64 `json:"to"`
}

// Progress is how far a replay is.
type Progress struct {
	Done, Total int64 // offsets of the window
	// Waiting is why nothing goes on at the moment; nil: it does.
	Waiting error
}

// ErrorCode tells the failures of this package apart. The set is closed.
type ErrorCode string

const (
	CodeInvalid     ErrorCode = "invalid"     // the configuration, the target or the group is wrong; nothing was done
	CodeBusy        ErrorCode = "busy"        // another replay of the group is under way
	CodeInterrupted ErrorCode = "interrupted" // the context ended; a later run goes on
	CodeKafka       ErrorCode = "kafka"       // Kafka failed; Err is a *kafka.Error
	CodeState       ErrorCode = "state"       // the group's progress is of something else, or what is left to do is gone
)

// Error is the one error type of this package.
type Error struct {
	Code ErrorCode
	Err  error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("replay: %s: %v", e.Code, e.Err) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf is the code of the first *Error in err's chain, or "" where there is none.
func CodeOf(err error) ErrorCode {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

func invalid(format string, args ...any) error {
	return &Error{Code: CodeInvalid, Err: fmt.Errorf(format, args...)}
}

func badState(format string, args ...any) error {
	return &Error{Code: CodeState, Err: fmt.Errorf(format, args...)}
}

// kafkaFailed wraps what Kafka said, or that ctx ended.
func kafkaFailed(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return &Error{Code: CodeInterrupted, Err: context.Cause(ctx)}
	}
	return &Error{Code: CodeKafka, Err: err}
}

// Rates beyond these can't be meant.
const (
	minRate = 1e-3
	maxRate = 1e6
)

// Check says what is wrong with the configuration: nil, or an *Error of
// CodeInvalid. Into and Plan check it too.
func (c Config) Check() error {
	switch {
	case c.Source == "":
		return invalid("the topic of the results has no name")
	case c.Target == "":
		return invalid("the target has no name")
	case c.Target == c.Source || slices.Contains(c.Live, c.Target):
		return invalid("%s is a live topic: a replay writes to none", c.Target)
	case c.Group == "":
		return invalid("the consumer group has no name")
	case slices.Contains(c.Connectors, c.Group):
		return invalid("the group %s is a connector's, whose progress it keeps: give another one", c.Group)
	case c.Rate != 0 && !(c.Rate >= minRate && c.Rate <= maxRate): // not a number is outside, too
		return invalid("the rate must be 0, or from %g to %g a second", minRate, maxRate)
	}
	return c.Window.check()
}

func (w Window) check() error {
	if !w.From.IsZero() && !w.To.IsZero() && !w.From.Before(w.To) {
		return invalid("no time is from %s on and before %s", w.From.Format(time.RFC3339), w.To.Format(time.RFC3339))
	}
	if len(w.Offsets) > 0 && !(w.From.IsZero() && w.To.IsZero()) {
		return invalid("the window is given by offsets or by times, not by both")
	}
	seen := map[int]bool{}
	for _, s := range w.Offsets {
		switch {
		case s.Partition < 0 || s.From < 0 || s.To <= s.From:
			return invalid("partition %d has no offset from %d on and before %d", s.Partition, s.From, s.To)
		case seen[s.Partition]:
			return invalid("partition %d is given twice", s.Partition)
		}
		seen[s.Partition] = true
	}
	return nil
}

// finder finds a window's offsets. *kafka.Client is one.
type finder interface {
	Ranges(ctx context.Context, topic string) ([]kafka.Range, error)
	OffsetAt(ctx context.Context, topic string, partition int, at time.Time) (int64, error)
}

// find pins the window: the spans of all its partitions, those without a record
// too, and how many partitions the topic has.
func (w Window) find(ctx context.Context, r finder, topic string) (spans []Span, partitions int, err error) {
	spans, there, err := w.pin(ctx, r, topic)
	return spans, len(there), err
}

// pin is find that tells what each partition of the topic holds, too.
func (w Window) pin(ctx context.Context, r finder, topic string) (spans []Span, there []kafka.Range, err error) {
	there, err = r.Ranges(ctx, topic)
	if err != nil {
		return nil, nil, kafkaFailed(ctx, err)
	}
	if len(w.Offsets) > 0 {
		for _, s := range w.Offsets {
			if s.Partition >= len(there) {
				return nil, nil, invalid("%s has no partition %d", topic, s.Partition)
			}
			if end := there[s.Partition].End; s.To > end {
				return nil, nil, invalid("%s/%d ends at offset %d, before %d", topic, s.Partition, end, s.To)
			}
			spans = append(spans, s)
		}
		slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(a.Partition, b.Partition) })
		return spans, there, nil
	}
	at := func(p int, t time.Time, unbounded int64) (int64, error) {
		if t.IsZero() {
			return unbounded, nil
		}
		offset, err := r.OffsetAt(ctx, topic, p, t)
		return min(max(offset, there[p].Start), there[p].End), kafkaFailed(ctx, err)
	}
	for p, all := range there {
		from, err := at(p, w.From, all.Start)
		if err != nil {
			return nil, nil, err
		}
		to, err := at(p, w.To, all.End)
		if err != nil {
			return nil, nil, err
		}
		spans = append(spans, Span{Partition: p, From: from, To: max(from, to)})
	}
	return spans, there, nil
}
