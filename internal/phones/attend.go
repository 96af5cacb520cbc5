package phones

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/countersign/countersign/internal/device"
)

const (
	gatewayPause = 100 * time.Millisecond // between two looks at the log of new challenges
	gatewayBatch = 1000
	attendPause  = 500 * time.Millisecond // between two looks of a phone at its challenges
	lookEvery    = 2 * time.Second        // how often a pending challenge is read again
	pressTimeout = 10 * time.Second       // of one answer
)

// deliver is the push gateway: it rings for every new challenge until ctx ends.
func (p *Page) deliver(ctx context.Context) {
	tick := time.NewTicker(gatewayPause)
	defer tick.Stop()
	for seen := uint64(0); ; {
		entries, last := p.cfg.Created(seen, gatewayBatch)
		for _, c := range entries {
			seen = c.Seq
			p.book.ring(c)
		}
		if seen < last && len(entries) > 0 && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// attend keeps one phone's challenges as the API has them, until ctx ends.
func (p *Page) attend(ctx context.Context, ph *phone) {
	tick := time.NewTicker(attendPause)
	defer tick.Stop()
	for {
		for _, sid := range p.book.due(ph) {
			if p.look(ctx, ph, sid) != nil {
				break // the API is away, for the others too
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ph.wake:
		case <-tick.C:
		}
	}
}

// look reads one challenge. An error says that the API could not be asked.
func (p *Page) look(ctx context.Context, ph *phone, sid string) error {
	c, err := ph.Device.Fetch(ctx, sid)
	if err == nil {
		p.book.seen(ph, c)
		return nil
	}
	if ctx.Err() != nil {
		return err
	}
	if refused(err).Status == http.StatusNotFound {
		p.book.gone(ph, sid)
		return nil
	}
	p.book.unreached(ph)
	return err
}

// refused is the device's error, or an empty one.
func refused(err error) *device.Error {
	if e, ok := errors.AsType[*device.Error](err); ok {
		return e
	}
	return &device.Error{}
}

// What the API says of a challenge that can no longer be answered.
const (
	apiAnswered = 60322
	apiExpired  = 60323
)

// press answers a challenge as its phone. A problem is what to tell the person.
func (p *Page) press(ctx context.Context, sid, status string) *problem {
	ph := p.book.holder(sid)
	if ph == nil {
		return closed(p.book.pastStatus(sid))
	}
	ctx, cancel := context.WithTimeout(ctx, pressTimeout)
	defer cancel()
	c, err := ph.Device.Fetch(ctx, sid)
	if err == nil && c.Status != statusPending {
		p.book.seen(ph, c)
		return closed(c.Status)
	}
	if err == nil {
		err = ph.Device.Answer(ctx, c, status)
	}
	switch e := refused(err); {
	case err == nil:
		p.book.pressed(status)
		c.Status = status
		p.book.seen(ph, c)
		return nil
	case e.APICode == apiAnswered || e.APICode == apiExpired:
		// Between the phone's look and its answer. How it ended is asked for once
		// more, but what the API has said is true in any case.
		_ = p.look(ctx, ph, sid)
		if e.APICode == apiExpired {
			return closed(statusExpired)
		}
		return closed(p.book.pastStatus(sid))
	case e.Status == http.StatusNotFound:
		p.book.gone(ph, sid)
		return closed(statusGone)
	case e.Code == device.CodeRefused && e.Status/100 == 4 && e.Status != http.StatusTooManyRequests:
		return &problem{http.StatusBadGateway, "refused", fmt.Sprintf("The API refuses the answer: %s (%d).", e.Message, e.APICode)}
	default:
		if c, err := ph.Device.Fetch(ctx, sid); err == nil && c.Status == status {
			p.book.pressed(status) // only the word about it was lost
			p.book.seen(ph, c)
			return nil
		}
		p.book.unreached(ph)
		return &problem{http.StatusBadGateway, "away", "The API does not answer. Whether it has the answer is not known: look again in a moment."}
	}
}

// problem is what a person is told, with the HTTP status that goes with it.
type problem struct {
	status  int
	code    string // stable, for programs
	message string
}

// closed says that a challenge can no longer be answered; empty: nothing is
// known of it.
func closed(status string) *problem {
	switch status {
	case statusExpired:
		return &problem{http.StatusConflict, "expired", "Too late: the challenge has expired (60323)."}
	case device.StatusApproved, device.StatusDenied:
		return &problem{http.StatusConflict, "answered", "The challenge was " + status + " already (60322)."}
	case statusGone:
		return &problem{http.StatusNotFound, "gone", "The API does not know the challenge any more."}
	}
	return &problem{http.StatusNotFound, "unknown", "No phone of this page has such a challenge."}
}
