package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"github.com/countersign/countersign/connector/kafka"
)

// sendBatch is how many events go out at once where no rate is asked for.
const sendBatch = 500

// outgoing is one event on its way.
type outgoing struct {
	where string
	id    string // empty: it has none that a result could refer to
	msg   kafka.Message
}

// name is what stands for an event in the output.
func (o outgoing) name() string {
	if o.id == "" {
		return o.where + " (no usable id)"
	}
	return printable(o.id)
}

// send produces everything, in order, and prints the id of what Kafka has. It
// returns that even where it fails: what the broker refuses is passed over,
// anything else ends it.
func (f sendFlags) send(ctx context.Context, cmd *cobra.Command, client *kafka.Client, all []outgoing) (sent []outgoing, err error) {
	limit, size := rate.NewLimiter(rate.Inf, 1), sendBatch
	if f.rate > 0 {
		limit, size = rate.NewLimiter(rate.Limit(f.rate), 1), 1
	}
	var refused []string
	for batch := range slices.Chunk(all, size) {
		if limit.Wait(ctx) != nil {
			return sent, fmt.Errorf("interrupted: %d of %d events were sent", len(sent), len(all))
		}
		accepted, err := produce(ctx, client, batch)
		if err != nil {
			return sent, fmt.Errorf("%d of %d events were sent for certain: %w", len(sent), len(all), kafkaError(f.topic, err))
		}
		for i, o := range batch {
			if !accepted[i] {
				refused = append(refused, o.name())
				continue
			}
			sent = append(sent, o)
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "sent %s\n", o.name()); err != nil {
				return sent, err
			}
		}
	}
	if len(refused) > 0 {
		return sent, fmt.Errorf("refused by Kafka for good: %d of %d events: %v", len(refused), len(all), refused)
	}
	return sent, nil
}

// produce reports which events of the batch Kafka has.
func produce(ctx context.Context, client *kafka.Client, batch []outgoing) (accepted []bool, err error) {
	msgs := make([]kafka.Message, len(batch))
	accepted = make([]bool, len(batch))
	for i := range batch {
		msgs[i], accepted[i] = batch[i].msg, true
	}
	err = client.Produce(ctx, msgs)
	if poison, ok := errors.AsType[*kafka.PoisonError](err); ok {
		for _, i := range poison.Indexes {
			accepted[i] = false
		}
		return accepted, nil
	}
	return accepted, err
}
