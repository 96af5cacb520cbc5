package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// The steady cell: how long the API takes, how many calls it is given at once.
const (
	steadyLatency  = 20 * time.Millisecond
	steadyInFlight = 64
	steadyWarm     = 5 // seconds that do not count
)

// steadyContenders are the plain loop and the connector's ways to deliver.
var steadyContenders = []string{"plain", "at_least_once", "exactly_once"}

func roleOf(contender string) string {
	if contender == "plain" {
		return "plain"
	}
	return "countersign"
}

// steady sends so many requests a second, whatever becomes of them, and measures
// from when each was due to when a read_committed reader has its result.
func (b *bench) steady(ctx context.Context, round int) error {
	order := slices.Clone(steadyContenders)
	for range round % len(order) {
		order = append(order[1:], order[0])
	}
	for _, delivery := range order {
		got, err := b.steadyRun(ctx, delivery)
		if err != nil {
			return fmt.Errorf("steady, %s: %w", delivery, err)
		}
		got.Round = round
		b.report.Steady = append(b.report.Steady, got)
		fmt.Fprintln(os.Stderr, got)
	}
	return nil
}

func (b *bench) steadyRun(ctx context.Context, delivery string) (out steadyRun, err error) {
	s, api, err := b.open(ctx, cell{steadyLatency, steadyInFlight})
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, api.end()) }()
	s.Delivery = delivery
	role := roleOf(delivery)
	if err := b.stage.prepare(ctx, s); err != nil {
		return out, err
	}
	c, err := spawn(ctx, role, s)
	if err != nil {
		return out, err
	}
	if _, err := c.hear(); err != nil {
		return out, err
	}
	// A contender may still join its group, and opens connections.
	warm := steadyWarm * b.rate
	took, err := b.send(ctx, s, warm+b.steadyRequests(), role == "countersign")
	if err = errors.Join(err, c.end()); err != nil {
		return out, err
	}
	took = took[warm:]
	slices.Sort(took)
	at := func(q float64) float64 {
		return (took[min(len(took)-1, int(q*float64(len(took))))] - steadyLatency).Seconds() * 1000
	}
	out = steadyRun{
		Contender: delivery, Requests: len(took), Rate: b.rate, P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: at(1),
		CPU: c.cpu().Seconds() / float64(warm+len(took)) * 1e6, Load: loadAverage(),
	}
	return out, b.stage.clear(ctx, s)
}

func (b *bench) steadyRequests() int { return b.options.steady }

// send produces n requests on time and returns how long each took, in the order
// in which they were due.
func (b *bench) send(ctx context.Context, s spec, n int, ours bool) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(n/b.rate)*time.Second+time.Minute)
	defer cancel()
	type arrival struct {
		id string
		at time.Time
	}
	arrivals, failed := make(chan arrival, n), make(chan error, n+partitions)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()
	for p := range partitions {
		workers.Go(func() {
			for rec, err := range b.stage.client.Follow(ctx, s.results(), p, 0) {
				if ctx.Err() != nil {
					return
				}
				now := time.Now()
				if err != nil {
					failed <- err
					return
				}
				id, err := requestID(rec.Value, ours)
				if err != nil {
					failed <- err
					return
				}
				arrivals <- arrival{id, now}
			}
		})
	}
	index := make(map[string]int, n)
	for i := range n {
		index[s.request(i).ID] = i
	}
	began := time.Now().Add(time.Second / 4)
	due := func(i int) time.Time { return began.Add(time.Duration(i) * time.Second / time.Duration(b.rate)) }
	workers.Go(func() {
		for i := range n {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Until(due(i))):
			}
			msg, err := s.message(i)
			if err != nil {
				failed <- err
				return
			}
			workers.Go(func() {
				if err := b.stage.writer.WriteMessages(ctx, msg); err != nil && ctx.Err() == nil {
					failed <- err
				}
			})
		}
	})
	took := make([]time.Duration, n)
	for left := n; left > 0; {
		select {
		case a := <-arrivals:
			if i := index[a.id]; took[i] == 0 {
				took[i] = a.at.Sub(due(i))
				left--
			}
		case err := <-failed:
			return nil, err
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d requests have no result: %w", left, n, ctx.Err())
		}
	}
	return took, nil
}
