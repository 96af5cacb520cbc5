package device

import (
	"context"
	"time"
)

// Decision is what a device's user does with a challenge.
type Decision int

const (
	// Ignore leaves it alone for good: it is not asked about again.
	Ignore Decision = iota
	// Approve answers StatusApproved.
	Approve
	// Deny answers StatusDenied.
	Deny
)

// Run looks for pending challenges, asks decide about each once, and answers,
// until ctx ends; then it returns nil, and no call of it is under way. An
// answer that fails is tried again at the next look, with the same decision. Errors go to
// Config.OnError and end nothing: the API may come back.
func (d *Device) Run(ctx context.Context, decide func(Challenge) Decision) error {
	decided := map[string]Decision{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		d.look(ctx, decided, decide)
		timer.Reset(d.cfg.Poll)
	}
}

// look handles what is pending now. decided remembers challenges as long as
// they are listed.
func (d *Device) look(ctx context.Context, decided map[string]Decision, decide func(Challenge) Decision) {
	pending, err := d.Pending(ctx)
	if err != nil {
		d.report(ctx, err)
		return
	}
	listed := make(map[string]bool, len(pending))
	for _, c := range pending {
		listed[c.SID] = true
		if ctx.Err() != nil {
			return
		}
		decision, seen := decided[c.SID]
		if !seen {
			decision = decide(c)
			decided[c.SID] = decision
		}
		if decision == Ignore {
			continue
		}
		if err := d.carryOut(ctx, c.SID, decision); err != nil {
			d.report(ctx, err)
		}
	}
	for sid := range decided {
		if !listed[sid] {
			delete(decided, sid)
		}
	}
}

func (d *Device) carryOut(ctx context.Context, sid string, decision Decision) error {
	c, err := d.Fetch(ctx, sid)
	if err != nil {
		return err
	}
	if c.Status != "pending" { // answered or expired since the list: nothing is left to do
		return nil
	}
	status := StatusApproved
	if decision == Deny {
		status = StatusDenied
	}
	if err := d.Answer(ctx, c, status); err != nil {
		return err
	}
	d.cfg.OnAnswer(c, decision)
	return nil
}

// report passes an error on unless it only tells that ctx ended.
func (d *Device) report(ctx context.Context, err error) {
	if ctx.Err() == nil {
		d.cfg.OnError(err)
	}
}
