package redrive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// Reader reads topics. *kafka.Client is one.
type Reader interface {
	Ranges(ctx context.Context, topic string) ([]kafka.Range, error)
	Scan(ctx context.Context, topic string, partition int, from, end int64) iter.Seq2[kafka.Record, error]
}

// Cluster is what a run needs of Kafka. *kafka.Client is one.
type Cluster interface {
	Reader
	EnsureTopics(ctx context.Context, specs []kafka.TopicSpec) error
	RunGroup(ctx context.Context, cfg kafka.GroupConfig, h kafka.Handler) error
}

// Topics are the names of the topics that take part; all must be set and no two
// may be the same, but that Parking plays no part where nothing is parked.
type Topics struct {
	DeadLetters string // read
	Requests    string // where requests go; it must exist
	Parking     string // where those go that were redriven too often; made where it is needed
	Journal     string // what was redriven; made where it does not exist
}

// Config says what to redrive and how. Its zero values mean: every redrivable dead
// letter, no deadline but the events' own, as fast as possible, none parked.
type Config struct {
	Topics Topics
	Group  string // the lock; must be set for Run
	Filter Filter
	// NotRedrivable takes dead letters too of which the connector says that
	// making a request of them makes no sense.
	NotRedrivable bool
	// NotAfter is the new deadline of a request, counted from when it is sent.
	// Zero: the event's own, which has passed as a rule.
	NotAfter time.Duration
	Rate     float64 // a second; zero: as fast as possible
	Max      int     // how many to redrive or park; zero: all
	// ParkAfter parks what was redriven so often already. Zero: never.
	ParkAfter int
	// Progress is called from Run's goroutine after each batch. Nil: not.
	Progress func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	Planned int // to redrive or to park
	Done    int // of these
}

// Filter picks dead letters. An empty field lets every one through; a list lets
// through what has one of its values. All fields have to agree.
type Filter struct {
	Classes []schemas.Class
	Codes   []int     // the API's error codes
	Since   time.Time // set aside then or later
	Until   time.Time // set aside before
	Keys    []string  // of the record
	IDs     []string  // of the request
}

// ErrorCode tells the failures of this package apart. The set is closed.
type ErrorCode string

const (
	CodeInvalid     ErrorCode = "invalid"     // the configuration or the journal topic is wrong; nothing was done
	CodeBusy        ErrorCode = "busy"        // another run holds the lock, or has taken it over
	CodeInterrupted ErrorCode = "interrupted" // the context ended; a later run goes on
	CodeKafka       ErrorCode = "kafka"       // Kafka failed; Err is a *kafka.Error
)

// Error is the one error type of this package.
type Error struct {
	Code ErrorCode
	Err  error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("redrive: %s: %v", e.Code, e.Err) }

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
// CodeInvalid. Survey and Run check it too.
func (c Config) Check() error {
	all := []struct{ what, name string }{
		{"dead letters", c.Topics.DeadLetters},
		{"requests", c.Topics.Requests},
		{"parking", c.Topics.Parking},
		{"journal", c.Topics.Journal},
	}
	for i, t := range all {
		if t.name == "" {
			return invalid("the topic of the %s has no name", t.what)
		}
		for _, other := range all[:i] {
			if other.name == t.name && (t.what != "parking" || c.ParkAfter > 0) {
				return invalid("%s and %s can't be the same topic, %s", other.what, t.what, t.name)
			}
		}
	}
	if c.Rate != 0 && !(c.Rate >= minRate && c.Rate <= maxRate) { // not a number is outside, too
		return invalid("the rate must be 0, or from %g to %g a second", minRate, maxRate)
	}
	if c.Max < 0 || c.ParkAfter < 0 || c.NotAfter < 0 {
		return invalid("cap, parking and deadline can't be negative")
	}
	if f := c.Filter; !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return invalid("no time is since %s and before %s", f.Since.Format(time.RFC3339), f.Until.Format(time.RFC3339))
	}
	return nil
}
