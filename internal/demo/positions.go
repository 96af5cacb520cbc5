package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// positions reads how far the demo's group has committed each partition, as a member
// of it: the plugin has left by now. A partition without a commit has -1.
func positions(ctx context.Context, client *kafka.Client, topic string) (map[int]int64, error) {
	n, err := client.Partitions(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("demo: committed positions: %w", err)
	}
	ctx, done := context.WithCancel(ctx)
	defer done()
	r := &positionReader{total: n, done: done, found: map[int]int64{}}
	err = client.RunGroup(ctx, kafka.GroupConfig{
		Group: group, Topic: topic, SessionTimeout: 10 * time.Second, RebalanceTimeout: 10 * time.Second,
	}, r)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.found) < n {
		return nil, fmt.Errorf("demo: committed positions: %d of %d partitions answered: %w", len(r.found), n, err)
	}
	return r.found, nil
}

// positionReader is a member that looks and commits nothing.
type positionReader struct {
	done  func()
	total int

	mu    sync.Mutex
	found map[int]int64
}

var _ kafka.Handler = (*positionReader)(nil)

func (r *positionReader) Run(ctx context.Context, s *kafka.Session) error {
	pos, err := s.Position(ctx)
	if err != nil {
		return err
	}
	r.take(s.Partition(), pos.Offset)
	<-ctx.Done() // to return earlier would give the other partitions up
	return nil
}

func (r *positionReader) take(partition int, offset int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found[partition] = offset
	if len(r.found) == r.total {
		r.done()
	}
}

func (r *positionReader) Assigned(kafka.Assignment) {}
func (r *positionReader) Revoked()                  {}
func (r *positionReader) Unjoined(error)            {}

// beyond takes the spots out that the group has not committed beyond: whoever
// takes the partitions over finds them there.
func beyond(missing []spot, committed map[int]int64) (lost []spot, unfinished int) {
	for _, s := range missing {
		if s.Offset < committed[s.Partition] {
			lost = append(lost, s)
		} else {
			unfinished++
		}
	}
	return lost, unfinished
}
