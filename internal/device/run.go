package device

import (
	"context"
	"errors"
	"net/http"
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
// answer that fails is tried again at the next look, with the same decision, until it is known
// what became of it. Errors go to Config.OnError and end nothing: the API may come back.
func (d *Device) Run(ctx context.Context, decide func(Challenge) Decision) error {
	decided := map[string]*decision{}
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

// decision is what was decided about a challenge.
type decision struct {
	Decision
	over bool // it is known what became of it
}

// look handles what is pending now. decided remembers challenges until they are
// no longer listed and it is known what became of them.
func (d *Device) look(ctx context.Context, decided map[string]*decision, decide func(Challenge) Decision) {
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
		if decided[c.SID] == nil {
			chosen := decide(c)
			decided[c.SID] = &decision{Decision: chosen, over: chosen == Ignore}
		}
		d.carryOut(ctx, c.SID, decided[c.SID])
	}
	for sid, chosen := range decided {
		if listed[sid] {
			continue
		}
		if d.carryOut(ctx, sid, chosen); chosen.over {
			delete(decided, sid)
		}
	}
}

// carryOut answers a challenge, unless it has been answered: by a try before,
// whose own answer was lost, or by somebody else.
func (d *Device) carryOut(ctx context.Context, sid string, chosen *decision) {
	if chosen.over || ctx.Err() != nil {
		return
	}
	status := StatusApproved
	if chosen.Decision == Deny {
		status = StatusDenied
	}
	c, err := d.Fetch(ctx, sid)
	if err == nil && c.Status == "pending" {
		err = d.Answer(ctx, c, status)
		c.Status = status
	}
	switch {
	case err != nil:
		chosen.over = isGone(err)
		d.report(ctx, err)
	case c.Status != status:
		chosen.over = true
		d.report(ctx, failf(CodeNotPending, "challenge %s is %s", sid, c.Status))
	default:
		chosen.over = true
		d.cfg.OnAnswer(c, chosen.Decision)
	}
}

// isGone reports that the API has no such challenge any more. Its code counts
// beside the status, which is not documented for each.
func isGone(err error) bool {
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != CodeRefused {
		return false
	}
	switch refused.APICode {
	case 20404, 60390, 60391, 60392: // nothing, no factor, no challenge, no entity there
		return true
	}
	return refused.Status == http.StatusNotFound || refused.Status == http.StatusGone
}

// report passes an error on unless it only tells that ctx ended.
func (d *Device) report(ctx context.Context, err error) {
	if ctx.Err() == nil {
		d.cfg.OnError(err)
	}
}
