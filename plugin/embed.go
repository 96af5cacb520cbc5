package plugin

import (
	"context"
	"time"

	"github.com/countersign/countersign/connector"
)

// Embed runs c in this process as Run would run it in a child: it configures
// and starts it, and drains it when ctx ends. nil means that nothing was
// abandoned. Of spec it reads Config, Secrets, DrainTimeout, StartTimeout,
// KillTimeout, Logger and OnStatus. A Connector that fails is not replaced: Run
// isolates and restarts, Embed does not.
func Embed(ctx context.Context, c Connector, spec Spec) error {
	spec = spec.withDefaults()
	base := context.WithoutCancel(ctx)
	s := newSession(base, c, spec.Logger)
	notify := newNotifier(spec.OnStatus)
	defer notify.close()
	defer func() {
		stopCtx, cancel := context.WithTimeout(base, spec.KillTimeout)
		defer cancel()
		if err := s.stop(stopCtx); err != nil {
			spec.Logger.Warn("stop", "error", err)
		}
		st, _, _ := s.status()
		notify.post(st)
	}()

	secrets, err := spec.Secrets(ctx)
	if err != nil {
		return &Error{Code: CodeSecrets, Err: err}
	}
	if err := s.configure(ctx, spec.Config, secrets); err != nil {
		return asError(err)
	}
	startCtx, cancel := context.WithTimeout(base, spec.StartTimeout)
	defer cancel()
	if err := s.start(startCtx); err != nil {
		return asError(err)
	}
	if err := follow(ctx, s, notify.post); err != nil {
		return asError(err)
	}
	return drainEmbedded(s, spec)
}

// follow posts every change until ctx ends (nil) or the Connector fails (why).
func follow(ctx context.Context, s *session, post func(connector.Status)) error {
	for {
		changes := s.c.Changes()
		st, moved, failure := s.status()
		post(st)
		if failure != nil {
			return failure
		}
		select {
		case <-changes:
		case <-moved:
		case <-ctx.Done():
			return nil
		}
	}
}

// drainEmbedded bounds the drain also where the Connector ignores its deadline.
func drainEmbedded(s *session, spec Spec) error {
	d, err := s.startDrain(spec.DrainTimeout)
	if err != nil {
		return err
	}
	timer := time.NewTimer(spec.DrainTimeout + spec.KillTimeout)
	defer timer.Stop()
	select {
	case <-d.done:
		if d.err != nil {
			return asError(d.err)
		}
		return nil
	case <-timer.C:
		return &Error{Code: CodeAbandoned, Abandoned: d.latest().Held, Message: "the drain ignored its deadline"}
	}
}
