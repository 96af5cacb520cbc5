package demo

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// tracker follows the results and the dead letters while they are written, as a
// downstream of the connector would. What it counts is for the view and for the
// sender; the Summary is counted anew from the topics.
type tracker struct {
	changed chan struct{} // a signal after each change, merged; one reader

	mu       sync.Mutex
	answered map[spot]bool
	ended    map[string]string // request id to the SID of its challenge; "": it has none
	outcomes map[string]int
	letters  int
	failed   error
}

func newTracker() *tracker {
	return &tracker{
		changed: make(chan struct{}, 1), answered: map[spot]bool{}, ended: map[string]string{}, outcomes: map[string]int{},
	}
}

// follow reads both topics until ctx ends and returns once nothing of it is
// left. An error that waiting can't mend shows in err.
func (t *tracker) follow(ctx context.Context, client *kafka.Client, names topics) {
	followTopics(ctx, client, map[string]func(kafka.Record){names.results: t.result, names.letters: t.letter}, t.fail)
}

// followTopics reads topics from their starts until ctx ends and returns once
// nothing of it is left. fail is told of what ends a reader earlier.
func followTopics(ctx context.Context, client *kafka.Client, takes map[string]func(kafka.Record), fail func(error)) {
	var readers sync.WaitGroup
	for topic, take := range takes {
		for p := range partitions {
			readers.Go(func() {
				for rec, err := range client.Follow(ctx, topic, p, 0) {
					if err != nil {
						fail(fmt.Errorf("demo: follow %s: %w", topic, err))
						return
					}
					take(rec)
				}
			})
		}
	}
	readers.Wait()
}

func (t *tracker) result(rec kafka.Record) {
	r, _, err := schemas.DecodeResult(rec.Value)
	if err != nil {
		t.fail(fmt.Errorf("demo: result %s/%d@%d: %w", rec.Topic, rec.Partition, rec.Offset, err))
		return
	}
	if r.Page != nil && r.Page.Index > 0 {
		return
	}
	t.change(func() {
		t.answered[spot{r.Request.Partition, r.Request.Offset}] = true
		t.ended[r.RequestID] = challengeSID(r.Challenge)
		t.outcomes[string(r.Outcome)]++
	})
}

func (t *tracker) letter(rec kafka.Record) {
	d, _, err := schemas.DecodeDeadLetter(rec.Headers)
	if err != nil {
		t.fail(fmt.Errorf("demo: dead letter %s/%d@%d: %w", rec.Topic, rec.Partition, rec.Offset, err))
		return
	}
	t.change(func() {
		t.answered[spot{d.Partition, d.Offset}] = true
		t.letters++
	})
}

func (t *tracker) fail(err error) {
	t.change(func() {
		if t.failed == nil {
			t.failed = err
		}
	})
}

func (t *tracker) change(apply func()) {
	t.mu.Lock()
	apply()
	t.mu.Unlock()
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// end says whether a request has its result, and which challenge it was about.
func (t *tracker) end(requestID string) (sid string, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sid, known = t.ended[requestID]
	return sid, known
}

// count is how many requests have an answer so far.
func (t *tracker) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.answered)
}

func (t *tracker) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

// tally copies what the view shows. byPartition counts the answers to the
// requests of each partition.
func (t *tracker) tally() (byPartition []int, outcomes map[string]int, letters int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	byPartition = make([]int, partitions)
	for s := range t.answered {
		byPartition[s.Partition]++
	}
	return byPartition, maps.Clone(t.outcomes), t.letters
}
