package integration

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

// spoiled is a world whose topics somebody tampers with, and a connector in it.
type spoiled struct {
	*world
	cfg  connector.Config
	m    *member
	made int // requests so far
	gate *gate
}

// gate holds calls back while it is shut.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil: open
}

func (g *gate) pass(emulator.Operation, *http.Request) {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// newSpoiled has answered some requests in every partition.
func newSpoiled(t *testing.T) *spoiled {
	t.Helper()
	t.Parallel()
	g := &gate{}
	w := newWorld(t, emulator.Config{AfterWork: g.pass})
	t.Cleanup(g.open)
	s := &spoiled{world: w, cfg: w.config(), gate: g}
	s.cfg.Window.Span = 16
	s.start()
	s.answered(s.ask(8)...)
	return s
}

func (s *spoiled) start() {
	s.t.Helper()
	s.m = s.run(s.cfg)
}

// ask sends n creates to every partition, and returns their ids.
func (s *spoiled) ask(n int) []string {
	s.t.Helper()
	var ids []string
	for p := range partitions {
		ids = append(ids, s.askAt(p, n)...)
	}
	return ids
}

// askAt sends n creates to one partition, which may be a new one.
func (s *spoiled) askAt(partition, n int) []string {
	s.t.Helper()
	return s.askLarge(partition, n, 0)
}

// askLarge is askAt with records of some size.
func (s *spoiled) askLarge(partition, n, size int) []string {
	s.t.Helper()
	ids := make([]string, n)
	msgs := make([]kafka.Message, n)
	for i := range n {
		r := s.create(s.made)
		s.made++
		value, err := r.Encode()
		must(s.t, err)
		ids[i] = r.ID
		msgs[i] = kafka.Message{Topic: s.topics.Requests, Partition: new(partition), Key: []byte(r.ID), Value: value}
		if size > 0 {
			msgs[i].Headers = []schemas.Header{{Key: "padding", Value: make([]byte, size)}}
		}
	}
	s.await("a partition to be known", func() bool { return s.kafka.Produce(s.t.Context(), msgs) == nil })
	return ids
}

// answered waits until each id has one answer that says that it was called.
func (s *spoiled) answered(ids ...string) {
	s.t.Helper()
	s.await(fmt.Sprintf("%d answers", len(ids)), func() bool {
		got := s.outcomes()
		for _, id := range ids {
			if len(got[id]) == 0 {
				return false
			}
		}
		return true
	})
	got := s.outcomes()
	for _, id := range ids {
		if len(got[id]) != 1 || got[id][0] != schemas.OutcomeSucceeded && got[id][0] != schemas.OutcomeAdopted {
			s.t.Errorf("%s has the outcomes %v", id, got[id])
		}
	}
}

// outcomes are those of all results, by request id.
func (s *spoiled) outcomes() map[string][]schemas.Outcome {
	s.t.Helper()
	out := map[string][]schemas.Outcome{}
	s.scan(s.topics.Results, func(r kafka.Record) {
		res, _, err := schemas.DecodeResult(r.Value)
		must(s.t, err)
		out[res.RequestID] = append(out[res.RequestID], res.Outcome)
	})
	return out
}

func (s *spoiled) calls() int64 { return s.api.Stats().Calls[emulator.OperationCreate] }

// refuses waits for the connector to end with a code.
func (s *spoiled) refuses(code connector.RecoveryCode) {
	s.t.Helper()
	err := s.ends()
	refused, ok := errors.AsType[*connector.RecoveryError](err)
	if !ok || refused.Code != code {
		s.t.Fatalf("it ended with %v, want the code %s", err, code)
	}
	if refused.Topic != s.topics.Requests || !strings.Contains(err.Error(), refused.Topic) {
		s.t.Errorf("%v does not name the topic", err)
	}
	if got := s.m.Status(); got.Ready || got.State != connector.StateFailed || !strings.Contains(got.Reason, refused.Message) {
		s.t.Errorf("its status is %s, ready %v, %s", got.State, got.Ready, got.Reason)
	}
}

// ends waits for the connector to end by itself.
func (s *spoiled) ends() error {
	s.t.Helper()
	var err error
	ended := false
	s.await("the connector to stop", func() bool {
		select {
		case err = <-s.m.done:
			ended = true
		default:
		}
		return ended
	})
	return err
}

// stillRefuses is a start after one that was refused: nothing heals by itself.
func (s *spoiled) stillRefuses(code connector.RecoveryCode) {
	s.t.Helper()
	s.start()
	s.refuses(code)
}

// accepts starts a connector whose operator has looked at findings.
func (s *spoiled) accepts(findings ...connector.Acceptance) {
	s.t.Helper()
	s.cfg.Recovery.Accept = findings
	s.start()
}

// called fails where other than n creates were called since before.
func (s *spoiled) called(before, n int64) {
	s.t.Helper()
	if got := s.calls() - before; got != n {
		s.t.Errorf("%d creates were called, want %d", got, n)
	}
}

// remake makes the requests topic anew.
func (s *spoiled) remake() {
	s.t.Helper()
	s.remove(s.t, s.topics.Requests)
	if shared == nil {
		// A fetch that waits at Apache Kafka ends with the topic; at the embedded
		// broker it has to end by itself.
		<-time.After(time.Second)
	}
	s.await("the topic to be made anew", func() bool {
		if s.kafka.EnsureTopics(s.t.Context(), []kafka.TopicSpec{{Name: s.topics.Requests, Partitions: partitions}}) != nil {
			return false
		}
		ranges, err := s.kafka.Ranges(s.t.Context(), s.topics.Requests)
		if err != nil || len(ranges) != partitions {
			return false
		}
		for _, r := range ranges {
			if r.End != 0 {
				return false
			}
		}
		return true
	})
}

// TestRecreatedTopic: the requests topic is deleted and made anew, while the
// connector runs and while it does not, with fewer records than before and with
// more.
func TestRecreatedTopic(t *testing.T) {
	for _, running := range []bool{false, true} {
		for _, n := range []int{2, 12} {
			t.Run(fmt.Sprintf("running %t, %d records", running, n), func(t *testing.T) {
				s := newSpoiled(t)
				if !running {
					must(t, s.m.leave())
				}
				before := s.calls()
				s.remake()
				ids := s.ask(n)
				if !running {
					s.start()
				}
				s.refuses(connector.RecoveryRecreatedTopic)
				s.stillRefuses(connector.RecoveryRecreatedTopic)
				s.called(before, 0)
				s.accepts(connector.AcceptRecreatedTopic)
				s.answered(ids...)
				s.called(before, int64(len(ids)))
				must(t, s.m.leave())
			})
		}
	}
}

// TestLostOffsets: somebody deletes the group's committed offsets.
func TestLostOffsets(t *testing.T) {
	s := newSpoiled(t)
	must(t, s.m.leave())
	before := s.calls()
	s.operate(t, func(client *kgo.Client) error {
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{s.group}
		res, err := req.RequestWith(t.Context(), client)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(res.Groups[0].ErrorCode)
	})
	ids := s.ask(2)
	s.start()
	s.refuses(connector.RecoveryLostOffsets)
	s.stillRefuses(connector.RecoveryLostOffsets)
	s.called(before, 0)
	s.accepts(connector.AcceptLostOffsets)
	s.answered(ids...)
	s.called(before, int64(len(ids)))
	must(t, s.m.leave())
}

// TestRetentionPassedThePosition: records are deleted before they are answered,
// while the connector is away and while it is behind.
func TestRetentionPassedThePosition(t *testing.T) {
	const at = 3 // the partition
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running %t", running), func(t *testing.T) {
			s := newSpoiled(t)
			held := 0
			if running {
				// What is held up bounds how far it reads.
				s.gate.close()
				held = s.cfg.Window.Span
			} else {
				must(t, s.m.leave())
			}
			before := s.calls()
			const size = 100 << 10 // a fetch gets ten of them
			ids := s.askLarge(at, 40, size)
			if running {
				s.await("calls to be under way", func() bool { return s.m.Status().InFlight == held })
			}
			ranges, err := s.kafka.Ranges(t.Context(), s.topics.Requests)
			must(t, err)
			const left = 5
			s.truncate(t, s.topics.Requests, at, ranges[at].End-left)
			if running {
				s.gate.open()
			} else {
				s.start()
			}
			s.refuses(connector.RecoveryRetention)
			s.stillRefuses(connector.RecoveryRetention)
			// What it had read before is answered; of the rest, nothing is called.
			read := int(s.calls() - before)
			if read < held || read > len(ids)/2+held {
				t.Errorf("%d creates were called", read)
			}
			s.answered(ids[:read]...)
			s.moveTo(at, ranges[at].End-left)
			s.start()
			s.answered(ids[len(ids)-left:]...)
			s.called(before, int64(read+left))
			must(t, s.m.leave())
		})
	}
}

// moveTo sets the group's offset as kafka-consumer-groups --reset-offsets does.
func (s *spoiled) moveTo(partition int, offset int64) {
	s.t.Helper()
	s.operate(s.t, func(client *kgo.Client) error {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Group, req.Generation = s.group, -1
		topic := kmsg.NewOffsetCommitRequestTopic()
		topic.Topic = s.topics.Requests
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset = int32(partition), offset
		topic.Partitions = append(topic.Partitions, part)
		req.Topics = append(req.Topics, topic)
		res, err := req.RequestWith(s.t.Context(), client)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(res.Topics[0].Partitions[0].ErrorCode)
	})
}

// TestPartitionsAdded to the requests, while the connector runs and while it does
// not: nothing in the new ones is called before somebody has decided, whatever
// the member owns.
func TestPartitionsAdded(t *testing.T) {
	const more = partitions + 2
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running %t", running), func(t *testing.T) {
			s := newSpoiled(t)
			if !running {
				must(t, s.m.leave())
			}
			before := s.calls()
			s.grow(t, s.topics.Requests, more)
			ids := append(s.askAt(more-1, 2), s.askAt(more-2, 2)...)
			if running {
				s.refuses(connector.RecoveryPartitionCount)
			}
			s.start()
			s.await("the ledger to be named", func() bool {
				return strings.Contains(s.m.Status().Reason, fmt.Sprintf("%s has partitions=%d, want at least %d", s.topics.Ledger, partitions, more))
			})
			s.grow(t, s.topics.Ledger, more)
			s.grow(t, s.topics.Positions, more)
			s.refuses(connector.RecoveryPartitionCount)
			s.stillRefuses(connector.RecoveryPartitionCount)
			s.called(before, 0)
			s.accepts(connector.AcceptPartitionCount)
			s.answered(ids...)
			s.called(before, int64(len(ids)))
			// Each partition writes for itself what was accepted, and the old ones have had
			// nothing to answer so far.
			s.answered(s.ask(1)...)
			must(t, s.m.leave())
			s.accepts()
			s.answered(s.askAt(more-1, 1)...)
			must(t, s.m.leave())
		})
	}
}

// TestPartitionsAddedEverywhere at once, under a running connector: its own
// topics have room, and still nothing new is called on a guess.
func TestPartitionsAddedEverywhere(t *testing.T) {
	const more = partitions + 2
	s := newSpoiled(t)
	before := s.calls()
	for _, topic := range []string{s.topics.Ledger, s.topics.Positions, s.topics.Requests} {
		s.grow(t, topic, more)
	}
	ids := append(s.askAt(more-1, 2), s.askAt(more-2, 2)...)
	s.refuses(connector.RecoveryPartitionCount)
	s.called(before, 0)
	s.accepts(connector.AcceptPartitionCount)
	s.answered(ids...)
	must(t, s.m.leave())
}

// TestDeletedTopic: the requests topic is deleted under a running connector and
// stays away. The connector says so and waits, but not for ever. Started without
// the topic it waits for as long as that takes; when it comes back, it is another
// one.
func TestDeletedTopic(t *testing.T) {
	s := newSpoiled(t)
	s.remove(t, s.topics.Requests)
	missed := func() {
		t.Helper()
		s.await("the topic to be missed", func() bool {
			got := s.m.Status()
			return !got.Ready && strings.Contains(got.Reason, s.topics.Requests)
		})
		select {
		case err := <-s.m.done:
			t.Fatalf("it has not waited: %v", err)
		default:
		}
	}
	missed()
	if err := s.ends(); kafka.CodeOf(err) != kafka.CodeUnknownTopic {
		t.Fatalf("it ended with %v", err)
	}
	s.start()
	missed()
	before := s.calls()
	ids := s.afresh()
	s.refuses(connector.RecoveryRecreatedTopic)
	s.called(before, 0)
	s.accepts(connector.AcceptRecreatedTopic)
	s.answered(ids...)
	must(t, s.m.leave())
}

// afresh makes the requests topic again, with some requests.
func (s *spoiled) afresh() []string {
	s.t.Helper()
	must(s.t, s.kafka.EnsureTopics(s.t.Context(), []kafka.TopicSpec{{Name: s.topics.Requests, Partitions: partitions}}))
	return s.ask(2)
}
