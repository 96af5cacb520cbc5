package connector

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// scriptedSink fails as told and remembers what it was given.
type scriptedSink struct {
	produce []error
	commit  []error
	written []string
	pos     []kafka.Position
}

func (s *scriptedSink) Produce(_ context.Context, msgs []kafka.Message) error {
	var err error
	if len(s.produce) > 0 {
		err, s.produce = s.produce[0], s.produce[1:]
	}
	poison, isPoison := errors.AsType[*kafka.PoisonError](err)
	unwritten, isPartial := errors.AsType[*kafka.UnwrittenError](err)
	for i, m := range msgs {
		if err == nil || isPoison && !slices.Contains(poison.Indexes, i) || isPartial && !slices.Contains(unwritten.Indexes, i) {
			s.written = append(s.written, string(m.Value))
		}
	}
	return err
}

func (s *scriptedSink) Commit(_ context.Context, p kafka.Position) error {
	var err error
	if len(s.commit) > 0 {
		err, s.commit = s.commit[0], s.commit[1:]
	}
	if err == nil {
		s.pos = append(s.pos, p)
	}
	return err
}

func TestAtLeastOnce(t *testing.T) {
	away := &kafka.Error{Code: kafka.CodeUnavailable, Op: "test"}
	var refused []error // by somebody who may mend it
	for _, code := range []kafka.ErrorCode{kafka.CodeDenied, kafka.CodeUnauthenticated, kafka.CodeTLS, kafka.CodeUnknownTopic} {
		refused = append(refused, &kafka.Error{Code: code, Op: "test"})
	}
	lost := &kafka.Error{Code: kafka.CodeOwnershipLost, Op: "test"}
	poison := &kafka.PoisonError{Indexes: []int{1}, Err: &kafka.Error{Code: kafka.CodeTooLarge, Op: "test"}}
	both := &kafka.PoisonError{Indexes: []int{0}, Err: &kafka.Error{Code: kafka.CodeTooLarge, Op: "test"}}
	for _, tc := range []struct {
		name    string
		sink    scriptedSink
		written []string
		code    kafka.ErrorCode
		commits int
	}{
		{"all well", scriptedSink{}, []string{"a", "b", "entry", "position"}, "", 1},
		{"publishing is repeated until it succeeds", scriptedSink{produce: []error{away, away, away}}, []string{"a", "b", "entry", "position"}, "", 1},
		{"a refusal is waited out", scriptedSink{produce: refused, commit: refused}, []string{"a", "b", "entry", "position"}, "", 1},
		{"a failed commit publishes nothing again", scriptedSink{commit: []error{away, away}}, []string{"a", "b", "entry", "position"}, "", 1},
		{"no position before the ledger", scriptedSink{produce: []error{nil, lost}}, []string{"a", "b"}, kafka.CodeOwnershipLost, 0},
		{"no offset before the position", scriptedSink{produce: []error{nil, nil, lost}}, []string{"a", "b", "entry"}, kafka.CodeOwnershipLost, 0},
		{"ownership lost ends it", scriptedSink{commit: []error{lost}}, []string{"a", "b", "entry", "position"}, kafka.CodeOwnershipLost, 0},
		{"a refused event is replaced", scriptedSink{produce: []error{poison}}, []string{"a", "fallback", "entry", "position"}, "", 1},
		{"a refused substitute is an error", scriptedSink{produce: []error{poison, both}}, []string{"a"}, kafka.CodeTooLarge, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := atLeastOnce{sink: &tc.sink, log: slog.New(slog.DiscardHandler)}
				err := c.commit(t.Context(), group{
					outputs: []output{
						{msg: kafka.Message{Value: []byte("a")}},
						{msg: kafka.Message{Value: []byte("b")}, fallback: func() (kafka.Message, error) { return kafka.Message{Value: []byte("fallback")}, nil }},
					},
					books:    []kafka.Message{{Value: []byte("entry")}, {Value: []byte("position")}},
					position: position{frontier: 7},
				})
				if kafka.CodeOf(err) != tc.code {
					t.Errorf("ended with %v, want code %q", err, tc.code)
				}
				if !slices.Equal(tc.sink.written, tc.written) {
					t.Errorf("written %q, want %q", tc.sink.written, tc.written)
				}
				if len(tc.sink.pos) != tc.commits {
					t.Errorf("%d commits, want %d", len(tc.sink.pos), tc.commits)
				}
			})
		})
	}
}

// scriptedTransactor fails as told and remembers what it was given at last.
type scriptedTransactor struct {
	fails []error
	tries int
	last  []string
}

func (s *scriptedTransactor) Fence(context.Context) error { return nil }

func (s *scriptedTransactor) Transact(_ context.Context, msgs []kafka.Message, _ kafka.Position) error {
	s.tries++
	s.last = nil
	for _, m := range msgs {
		s.last = append(s.last, string(m.Value))
	}
	if len(s.fails) == 0 {
		return nil
	}
	err := s.fails[0]
	s.fails = s.fails[1:]
	return err
}

// A list of which the broker refuses a record is answered by one substitute, and by
// none of its records.
func TestExactlyOnceSubstitutes(t *testing.T) {
	refuse := func(indexes ...int) *kafka.PoisonError {
		return &kafka.PoisonError{Indexes: indexes, Err: &kafka.Error{Code: kafka.CodeTooLarge, Op: "test"}}
	}
	one, other := new(schemas.Result), new(schemas.Result)
	for name, tc := range map[string]struct {
		fails   []error
		written []string
		code    kafka.ErrorCode
	}{
		"all well":                 {nil, []string{"a", "one0", "one1", "b", "other0", "other1", "book"}, ""},
		"alone":                    {[]error{refuse(3)}, []string{"a", "one0", "one1", "-b", "other0", "other1", "book"}, ""},
		"the first of a list":      {[]error{refuse(1)}, []string{"a", "-one0", "b", "other0", "other1", "book"}, ""},
		"the last of a list":       {[]error{refuse(2)}, []string{"a", "-one0", "b", "other0", "other1", "book"}, ""},
		"two lists and one":        {[]error{refuse(0, 1, 2, 5)}, []string{"-a", "-one0", "b", "-other0", "book"}, ""},
		"one list after the other": {[]error{refuse(2), refuse(4)}, []string{"a", "-one0", "b", "-other0", "book"}, ""},
		"a substitute":             {[]error{refuse(2), refuse(1)}, []string{"a", "-one0", "b", "other0", "other1", "book"}, kafka.CodeTooLarge},
		"a book":                   {[]error{refuse(6)}, []string{"a", "one0", "one1", "b", "other0", "other1", "book"}, kafka.CodeTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			var outputs []output
			for text, list := range map[string]*schemas.Result{"a": nil, "one0": one, "one1": one, "b": nil, "other0": other, "other1": other} {
				outputs = append(outputs, output{
					msg:      kafka.Message{Value: []byte(text)},
					fallback: func() (kafka.Message, error) { return kafka.Message{Value: []byte("-" + text)}, nil },
					list:     list,
				})
			}
			order := []string{"a", "one0", "one1", "b", "other0", "other1"}
			slices.SortFunc(outputs, func(a, b output) int {
				return slices.Index(order, string(a.msg.Value)) - slices.Index(order, string(b.msg.Value))
			})
			session := &scriptedTransactor{fails: tc.fails}
			err := exactlyOnce{session: session, log: slog.New(slog.DiscardHandler)}.commit(t.Context(), group{
				outputs: outputs, books: []kafka.Message{{Value: []byte("book")}},
			})
			if kafka.CodeOf(err) != tc.code || !slices.Equal(session.last, tc.written) {
				t.Errorf("%v, written %q", err, session.last)
			}
		})
	}
}

func TestAtLeastOnceGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := &kafka.Error{Code: kafka.CodeUnavailable, Op: "test"}
		sink := &scriptedSink{produce: slices.Repeat([]error{away}, 1000)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- atLeastOnce{sink: sink, log: slog.New(slog.DiscardHandler)}.commit(ctx, group{outputs: []output{{}}})
		}()
		synctest.Wait()
		cancel()
		if err := <-ended; err == nil {
			t.Error("a commit that was given up must not look like one that succeeded")
		}
		if len(sink.pos) != 0 {
			t.Error("the position was committed without its events")
		}
	})
}
