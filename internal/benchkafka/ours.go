package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/internal/emulator"
)

// countersign is the connector as a library, with everything on.
func countersign(ctx context.Context, m *meter, s spec) error {
	conn, err := connector.New(connector.Config{
		Kafka: connector.KafkaConfig{Brokers: s.Brokers, Group: s.group(), Topics: connector.TopicsConfig{
			Requests: s.requests(), Results: s.results(), DeadLetters: s.deadLetters(), Ledger: s.ledger(), Positions: s.positions(),
		}},
		Delivery: connector.Delivery(s.Delivery),
		Recovery: connector.RecoveryConfig{MarkerKey: "a key of at least thirty-two characters"},
		Accounts: map[string]connector.AccountConfig{"main": {
			AccountSID: emulator.DefaultAccountSID, AuthToken: emulator.DefaultAuthToken, BaseURL: s.API,
			Rate: connector.RateConfig{PerSecond: 100_000, Concurrency: s.InFlight},
		}},
	}, connector.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- conn.Run(ctx) }()
	if s.Requests == 0 {
		if err := follow(ctx, conn, ended); err != nil {
			return err
		}
		if err := m.say(said{Ready: true}); err != nil {
			return err
		}
		return <-ended
	}
	if err := m.say(said{Ready: true}); err != nil {
		return err
	}
	if err := poll(ended, time.Millisecond, func() bool { return conn.Status().Counters.Records > 0 }); err != nil {
		return err
	}
	if err := m.start(); err != nil {
		return err
	}
	if err := poll(ended, 10*time.Millisecond, func() bool { return committed(conn.Status()) >= int64(s.Requests) }); err != nil {
		return err
	}
	if err := m.stop(s.Requests, conn.Status().Counters.Commits); err != nil {
		return err
	}
	cancel()
	return <-ended
}

// follow waits until every partition has its lane, and reads.
func follow(ctx context.Context, conn *connector.Connector, ended <-chan error) error {
	return poll(ended, 10*time.Millisecond, func() bool {
		s := conn.Status()
		return s.Ready && len(s.Lanes) == partitions || ctx.Err() != nil
	})
}

func committed(s connector.Status) (records int64) {
	for _, l := range s.Lanes {
		records += max(l.Committed, 0)
	}
	return records
}

func poll(ended <-chan error, every time.Duration, holds func() bool) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !holds() {
		select {
		case err := <-ended:
			return fmt.Errorf("the connector ended early: %w", err)
		case <-tick.C:
		}
	}
	return nil
}
