package connector

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// endsEvery is how often the end of the log is asked for while a lane does not
// fetch. Answers to fetches carry it, so it is not asked for otherwise.
const endsEvery = 10 * time.Second

// ends are the last stable offsets of the request topic as they were last asked
// for. It is safe for concurrent use.
type ends struct {
	mu sync.Mutex
	at []int64
}

func (e *ends) set(ranges []kafka.Range) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.at = e.at[:0]
	for _, r := range ranges {
		e.at = append(e.at, r.End)
	}
}

// raise brings a lane's end up to what is known. A lane that fetches knows it
// better; ends never move back while the partition is the lane's.
func (e *ends) raise(l *LaneStatus) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.Partition < len(e.at) && l.fetchPaused() && e.at[l.Partition] > l.End {
		l.Lag += e.at[l.Partition] - l.End
		l.End = e.at[l.Partition]
	}
}

// fetchPaused reports that the lane does not ask for more records.
func (l *LaneStatus) fetchPaused() bool {
	return slices.ContainsFunc(l.Paused, func(p Pause) bool { return slices.Contains(intakePauses, p) })
}

// watchEnds keeps the lag true of lanes whose intake is paused, which is when
// it is wanted most. It returns when ctx ends.
func (c *Connector) watchEnds(ctx context.Context, ask func(context.Context) ([]kafka.Range, error)) {
	tick := time.NewTicker(endsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !slices.ContainsFunc(c.Status().Lanes, func(l LaneStatus) bool { return l.fetchPaused() }) {
			continue
		}
		ranges, err := ask(ctx)
		if err != nil {
			c.stats.kafkaFailed(kafkaOffsets, err)
			continue
		}
		c.ends.set(ranges)
		c.changed()
	}
}
