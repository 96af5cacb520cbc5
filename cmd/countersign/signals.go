package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// interrupts is what SIGINT and SIGTERM mean to a command that has work in
// hand: the first asks to finish it, the second to give it up.
type interrupts struct {
	drain context.Context //nolint:containedctx // a signal is nothing else: it ends with the first, or with the parent
	abort context.Context //nolint:containedctx // ends with the second

	release func() // gives the signals back; must be called
}

// catch takes the signals over. Until release is called they no longer end the
// process by themselves.
func catch(parent context.Context, log *slog.Logger) interrupts {
	drain, first := context.WithCancel(parent)
	abort, second := context.WithCancel(context.WithoutCancel(parent))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case sig := <-signals:
				if drain.Err() != nil {
					log.Warn("giving up what is unfinished", "signal", sig.String())
					second()
					continue
				}
				log.Info("finishing; a second signal gives up", "signal", sig.String())
				first()
			case <-stop:
				return
			}
		}
	})
	return interrupts{drain: drain, abort: abort, release: func() {
		signal.Stop(signals)
		close(stop)
		watching.Wait()
		first()
		second()
	}}
}

// interruptible ends with the first signal and leaves the second to end the
// process: for commands that have nothing to finish.
func interruptible(parent context.Context) (ctx context.Context, release func()) {
	ctx, release = signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, release)
	return ctx, release
}
