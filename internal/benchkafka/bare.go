package main

import (
	"context"
	"sync"
)

// bare makes the calls with so many workers and nothing else.
func bare(ctx context.Context, m *meter, s spec) error {
	client := newHTTPClient(s.InFlight)
	defer client.CloseIdleConnections()
	jobs := make(chan factor)
	failed := make(chan error, s.InFlight)
	var workers sync.WaitGroup
	if err := m.start(); err != nil {
		return err
	}
	for range s.InFlight {
		workers.Go(func() {
			for f := range jobs {
				if _, err := create(ctx, client, s.API, f); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	err := func() error {
		defer close(jobs)
		for i := range s.Requests {
			select {
			case jobs <- s.Factors[i%len(s.Factors)]:
			case err := <-failed:
				return err
			}
		}
		return nil
	}()
	workers.Wait()
	if err == nil && len(failed) > 0 {
		err = <-failed
	}
	if err != nil {
		return err
	}
	return m.stop(s.Requests, 0)
}
