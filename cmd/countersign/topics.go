package main

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/countersign/countersign/connector/kafka"
)

// kafkaError says what to do about a topic or a broker that is not there.
func kafkaError(topic string, err error) error {
	switch kafka.CodeOf(err) {
	case kafka.CodeUnknownTopic:
		return fmt.Errorf("there is no topic %s: has a connector with create_topics been started, or is it another one? (%w)", topic, err)
	case kafka.CodeUnauthenticated, kafka.CodeTLS:
		return fmt.Errorf("the brokers refuse the connection: kafka.tls and kafka.sasl in --config, or COUNTERSIGN_KAFKA__TLS__* and COUNTERSIGN_KAFKA__SASL__* say who this is (%w)", err)
	case kafka.CodeUnavailable:
		return fmt.Errorf("no answer from Kafka: --brokers says where it is (%w)", err)
	default:
		return err
	}
}

// follow yields the records of all partitions of a topic as they arrive, from
// the given offset of each on. It ends with ctx, or with an error as its last
// pair. No goroutine is left behind when the loop ends.
func follow(ctx context.Context, client *kafka.Client, topic string, from []int64) iter.Seq2[kafka.Record, error] {
	type arrival struct {
		rec kafka.Record
		err error
	}
	return func(yield func(kafka.Record, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		arrivals := make(chan arrival)
		var readers sync.WaitGroup
		defer readers.Wait()
		defer cancel()
		for p, offset := range from {
			readers.Go(func() {
				for rec, err := range client.Follow(ctx, topic, p, offset) {
					select {
					case arrivals <- arrival{rec, err}:
					case <-ctx.Done():
						return
					}
				}
			})
		}
		for {
			select {
			case a := <-arrivals:
				if !yield(a.rec, a.err) || a.err != nil {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}
