package demo

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// wire is a broker that keeps what was sent.
type wire struct {
	batches [][]kafka.Message
	onSend  func(n int) error // after the nth batch; nil: nothing
}

func (w *wire) send(_ context.Context, m []kafka.Message) error {
	w.batches = append(w.batches, m)
	if w.onSend != nil {
		return w.onSend(len(w.batches))
	}
	return nil
}

// ids are the request ids in the order in which they were sent.
func (w *wire) ids(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, b := range w.batches {
		for _, m := range b {
			r, _, err := schemas.DecodeRequest(m.Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, r.ID)
		}
	}
	return out
}

func testFeed(t *testing.T, steps []step, w *wire) *feed {
	t.Helper()
	_, people, _ := testAPI(t, 2)
	return &feed{seed: 1, steps: steps, people: people, topic: "requests", rate: 1e6, send: w.send, known: newTracker()}
}

// within bounds a run that would wait for ever.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// told lets the tracker know a result.
func told(known *tracker, index int, sid string) {
	known.change(func() { known.ended[requestID(1, index)] = sid })
}

const someSID = "YC00000000000000000000000000000001"

func numbered(steps ...step) []step {
	for i := range steps {
		steps[i].index = i
	}
	return steps
}

// TestFeedFollowsResults: what is about a challenge waits for the result that
// names it, the rest does not, and the order within one challenge stays.
func TestFeedFollowsResults(t *testing.T) {
	w := &wire{}
	f := testFeed(t, numbered(
		step{kind: kindOpen, of: -1},
		step{kind: kindMetadata, of: 0},
		step{kind: kindList, of: -1, person: 1},
		step{kind: kindAnswer, of: 0},
		step{kind: kindPush, of: -1, person: 1},
	), w)
	w.onSend = func(n int) error {
		if n == 3 { // all that can go has gone
			told(f.known, 0, someSID)
		}
		return nil
	}
	if err := f.run(within(t)); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, i := range []int{0, 2, 4, 1, 3} {
		want = append(want, requestID(1, i))
	}
	if got := w.ids(t); !slices.Equal(got, want) {
		t.Errorf("sent %v, want %v", got, want)
	}
	if len(w.batches) != 5 {
		t.Fatalf("%d batches", len(w.batches))
	}
	last := w.batches[4][0]
	r, _, err := schemas.DecodeRequest(last.Value)
	if err != nil || r.ChallengeSID != someSID || string(last.Key) != r.Identity || last.Topic != "requests" {
		t.Errorf("%+v, key %q, %v", r, last.Key, err)
	}
	if f.sent.Load() != 5 {
		t.Errorf("%d sent", f.sent.Load())
	}
}

// TestFeedWithoutChallenge: where the create came to nothing, a list is sent in
// place of what was about its challenge.
func TestFeedWithoutChallenge(t *testing.T) {
	w := &wire{}
	f := testFeed(t, numbered(step{kind: kindOpen, of: -1}, step{kind: kindAnswer, of: 0}), w)
	told(f.known, 0, "")
	if err := f.run(within(t)); err != nil {
		t.Fatal(err)
	}
	if len(w.batches) != 2 {
		t.Fatalf("%d batches", len(w.batches))
	}
	r, _, err := schemas.DecodeRequest(w.batches[1][0].Value)
	if err != nil || r.Operation != schemas.OperationList || r.ID != requestID(1, 1) {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestFeedBursts: the steps of a burst go out in one batch, under one key.
func TestFeedBursts(t *testing.T) {
	w := &wire{}
	f := testFeed(t, numbered(
		step{kind: kindPush, of: -1, burst: 1}, step{kind: kindList, of: -1, burst: 1},
		step{kind: kindList, of: -1, burst: 2}, step{kind: kindList, of: -1, burst: 2},
		step{kind: kindList, of: -1},
	), w)
	if err := f.run(within(t)); err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for _, b := range w.batches {
		sizes = append(sizes, len(b))
	}
	if !slices.Equal(sizes, []int{2, 2, 1}) {
		t.Errorf("batches of %v", sizes)
	}
}

// TestFeedHalfway is called once, when half is out.
func TestFeedHalfway(t *testing.T) {
	w := &wire{}
	steps := make([]step, 5)
	for i := range steps {
		steps[i] = step{kind: kindList, of: -1}
	}
	f := testFeed(t, numbered(steps...), w)
	var at []int64
	f.halfway = func() error { at = append(at, f.sent.Load()); return nil }
	if err := f.run(within(t)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(at, []int64{3}) {
		t.Errorf("halfway at %v", at)
	}
}

func TestFeedEnds(t *testing.T) {
	broken := errors.New("broken")
	one := func() []step { return numbered(step{kind: kindList, of: -1}, step{kind: kindList, of: -1}) }

	w := &wire{onSend: func(int) error { return broken }}
	f := testFeed(t, one(), w)
	if err := f.run(within(t)); !errors.Is(err, broken) || f.sent.Load() != 0 {
		t.Errorf("a broken broker: %v, %d sent", err, f.sent.Load())
	}

	w = &wire{}
	f = testFeed(t, one(), w)
	f.halfway = func() error { return broken }
	if err := f.run(within(t)); !errors.Is(err, broken) || f.sent.Load() != 1 {
		t.Errorf("halfway fails: %v, %d sent", err, f.sent.Load())
	}

	ctx, cancel := context.WithCancel(within(t))
	w = &wire{onSend: func(int) error { cancel(); return nil }}
	f = testFeed(t, one(), w)
	if err := f.run(ctx); err != nil || f.sent.Load() != 1 {
		t.Errorf("an interrupt: %v, %d sent", err, f.sent.Load())
	}

	// Everything waits for a result that will not come, and the tracker has
	// failed: that is the end.
	f = testFeed(t, numbered(step{kind: kindPush, of: -1}, step{kind: kindFetch, of: 0}), &wire{})
	f.known.fail(broken)
	if err := f.run(within(t)); !errors.Is(err, broken) {
		t.Errorf("a failed tracker: %v", err)
	}
}
