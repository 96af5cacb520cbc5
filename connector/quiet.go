package connector

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

const (
	// quietFor is how long the same trouble is not said again.
	quietFor = 30 * time.Second
	// quietKinds bounds the troubles that are told apart.
	quietKinds = 1000
)

// quiet is a handler for what is found again and again while brokers are away,
// by every lane. The same warning about the same cause passes at once, and then
// every half minute, with the number of those between. Errors and what is below
// a warning pass always, but for the news that it is over.
type quiet struct {
	slog.Handler
	seen *troubles
}

// troubles is shared by the loggers that come from one.
type troubles struct {
	now func() time.Time

	mu  sync.Mutex
	all map[trouble]*repetition
}

type trouble struct{ message, cause string }

type repetition struct {
	said    time.Time
	skipped int
}

func newQuiet(h slog.Handler) *slog.Logger {
	return slog.New(quiet{h, &troubles{now: time.Now, all: map[trouble]*repetition{}}})
}

// Handle implements slog.Handler.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	if r.Level != slog.LevelWarn {
		return q.Handler.Handle(ctx, r)
	}
	skipped, say := q.seen.note(trouble{r.Message, causeOf(r)})
	if !say {
		return nil
	}
	if skipped > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("repeated", skipped))
	}
	return q.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quiet{q.Handler.WithAttrs(attrs), q.seen}
}

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name), q.seen} }

// note reports whether it is time to say a trouble, and how often it was not said.
func (t *troubles) note(what trouble) (skipped int, say bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if r := t.all[what]; r != nil && now.Sub(r.said) < quietFor {
		r.skipped++
		return 0, false
	} else if r != nil {
		skipped = r.skipped
	}
	if len(t.all) >= quietKinds {
		clear(t.all)
	}
	t.all[what] = &repetition{said: now}
	return skipped, true
}

// causeOf is the innermost error of a record: what is around it names partitions
// and offsets, which tell nothing apart here. Of a refusal it is what is refused, and
// of one that had an answer before also that: a time limit is the same for every trouble.
func causeOf(r slog.Record) string {
	cause := ""
	r.Attrs(func(a slog.Attr) bool {
		err, ok := a.Value.Any().(error)
		if !ok {
			return true
		}
		if said, is := errors.AsType[*kafka.Error](err); is && said.Err != nil && kafka.Refused(said) {
			cause = said.Err.Error()
			return false
		}
		before := ""
		if a, is := errors.AsType[*kafka.AnsweredBefore](err); is {
			before = a.Answer
		}
		for next := err; next != nil; next = inner(err) {
			err = next
		}
		cause = err.Error() + before
		return false
	})
	return cause
}

func inner(err error) error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		if errs := all.Unwrap(); len(errs) > 0 {
			return errs[len(errs)-1]
		}
		return nil
	}
	return errors.Unwrap(err)
}
