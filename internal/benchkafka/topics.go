package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

const partitions = 8

// stage is the broker's side of a run.
type stage struct {
	api    *kafkago.Client
	client *kafka.Client
	writer *kafkago.Writer
}

func newStage(addr string) (*stage, error) {
	client, err := kafka.NewClient(kafka.Config{Brokers: []string{addr}, ClientID: "judge"})
	if err != nil {
		return nil, err
	}
	transport := &kafkago.Transport{MetadataTTL: 200 * time.Millisecond}
	return &stage{
		client: client,
		api:    &kafkago.Client{Addr: kafkago.TCP(addr), Transport: transport},
		writer: &kafkago.Writer{
			Addr: kafkago.TCP(addr), Balancer: kafkago.Murmur2Balancer{}, BatchSize: 1000, BatchTimeout: time.Millisecond,
			RequiredAcks: kafkago.RequireAll, Transport: transport,
		},
	}, nil
}

// prepare makes the topics of a run.
func (st *stage) prepare(ctx context.Context, s spec) error {
	own := map[string]string{"cleanup.policy": "compact"}
	specs := []kafka.TopicSpec{
		{Name: s.requests(), Partitions: partitions},
		{Name: s.results(), Partitions: partitions},
		{Name: s.deadLetters(), Partitions: partitions},
		{Name: s.ledger(), Partitions: partitions, Configs: map[string]string{"cleanup.policy": "compact,delete"}},
		{Name: s.positions(), Partitions: partitions, Configs: own},
	}
	if err := st.client.EnsureTopics(ctx, specs); err != nil {
		return err
	}
	return st.await(ctx, s)
}

// await is until the writer's own view of the cluster has the topics, too.
func (st *stage) await(ctx context.Context, s spec) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	topics := []string{s.requests(), s.results(), s.deadLetters(), s.ledger(), s.positions()}
	for {
		res, err := st.api.Metadata(ctx, &kafkago.MetadataRequest{Topics: topics})
		if err == nil && !slices.ContainsFunc(res.Topics, func(t kafkago.Topic) bool {
			return t.Error != nil || len(t.Partitions) != partitions || slices.ContainsFunc(t.Partitions, func(p kafkago.Partition) bool { return p.Error != nil })
		}) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("the topics do not appear"), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// preload writes all requests of a run, spread over the keys in turn.
func (st *stage) preload(ctx context.Context, s spec) error {
	for from := 0; from < s.Requests; from += 1000 {
		var batch []kafkago.Message
		for i := from; i < min(from+1000, s.Requests); i++ {
			msg, err := s.message(i)
			if err != nil {
				return err
			}
			batch = append(batch, msg)
		}
		if err := st.writer.WriteMessages(ctx, batch...); err != nil {
			return err
		}
	}
	return nil
}

func (s spec) message(i int) (kafkago.Message, error) {
	req := s.request(i)
	value, err := req.Encode()
	if err != nil {
		return kafkago.Message{}, err
	}
	return kafkago.Message{Topic: s.requests(), Key: []byte(req.Identity), Value: value, Time: time.Now()}, nil
}

// verify counts what a read_committed reader finds: each request must have its
// result, and the connector's must have it once.
func (st *stage) verify(ctx context.Context, s spec, once bool) error {
	seen := make(map[string]int, s.Requests)
	for p := range partitions {
		for rec, err := range st.client.Scan(ctx, s.results(), p, 0, math.MaxInt64) {
			if err != nil {
				return err
			}
			id, err := requestID(rec.Value, once)
			if err != nil {
				return err
			}
			seen[id]++
		}
	}
	for i := range s.Requests {
		id := s.request(i).ID
		if n := seen[id]; n == 0 || once && n > 1 {
			return fmt.Errorf("run %s: request %s has %d results", s.Run, id, n)
		}
	}
	return nil
}

// clear deletes the topics of a run.
func (st *stage) clear(ctx context.Context, s spec) error {
	res, err := st.api.DeleteTopics(ctx, &kafkago.DeleteTopicsRequest{
		Topics: []string{s.requests(), s.results(), s.deadLetters(), s.ledger(), s.positions()},
	})
	if err != nil {
		return err
	}
	for topic, err := range res.Errors {
		if err != nil {
			return fmt.Errorf("delete %s: %w", topic, err)
		}
	}
	return nil
}

func (st *stage) close() error {
	_ = st.writer.Close() // it has written everything
	return st.client.Close()
}

// requestID is which request a result answers, and that it did so with success.
func requestID(value []byte, ours bool) (string, error) {
	if !ours {
		return plainID(value)
	}
	res, _, err := schemas.DecodeResult(value)
	if err != nil {
		return "", err
	}
	if res.Outcome != schemas.OutcomeSucceeded {
		return "", fmt.Errorf("request %s ended as %s", res.RequestID, res.Outcome)
	}
	return res.RequestID, nil
}
