package demo

import (
	"context"
	"errors"
	"hash/fnv"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

// phones are the virtual devices at work: the API's log of new challenges is
// their push gateway, and each phone that rings fetches its challenge and
// approves, denies or ignores it after a moment, by what the seed says.
type phones struct {
	seed    uint64
	created func(after uint64, limit int) ([]emulator.Created, uint64)
	byPush  map[string]*person // by SID of the push factor

	approved, denied, ignored, unsettled atomic.Int64
	ringing                              sync.WaitGroup
}

const (
	gatewayPause = 40 * time.Millisecond
	gatewayBatch = 1000
	retryPause   = 500 * time.Millisecond // between two tries of a phone, at first
	retryMost    = 4 * time.Second
)

func newPhones(seed uint64, people []*person, created func(uint64, int) ([]emulator.Created, uint64)) *phones {
	p := &phones{seed: seed, created: created, byPush: map[string]*person{}}
	for _, one := range people {
		p.byPush[one.phone.Factor().SID] = one
	}
	return p
}

// run delivers pushes until last is closed; then it delivers what there is and
// returns once everybody has answered. When ctx ends, the phones hang up.
func (p *phones) run(ctx context.Context, last <-chan struct{}) {
	defer p.ringing.Wait()
	tick := time.NewTicker(gatewayPause)
	defer tick.Stop()
	for seen := uint64(0); ; {
		seen = p.deliver(ctx, seen)
		select {
		case <-ctx.Done():
			return
		case <-last:
			p.deliver(ctx, seen)
			return
		case <-tick.C:
		}
	}
}

// deliver rings for every challenge made after seen, and returns the newest.
func (p *phones) deliver(ctx context.Context, seen uint64) uint64 {
	for {
		entries, last := p.created(seen, gatewayBatch)
		for _, c := range entries {
			seen = c.Seq
			p.ring(ctx, c)
		}
		if seen >= last || len(entries) == 0 {
			return seen
		}
	}
}

// ring lets one phone deal with one push. Challenges of other factors ring
// nowhere.
func (p *phones) ring(ctx context.Context, c emulator.Created) {
	owner := p.byPush[c.FactorSID]
	if owner == nil {
		return
	}
	decision, pause := reaction(p.seed, c.HiddenDetails[hiddenID])
	if decision == device.Ignore {
		p.ignored.Add(1)
		return
	}
	p.ringing.Go(func() {
		if !pauseFor(ctx, pause) {
			return
		}
		// The API may be out; a phone tries again, as its user would.
		for wait := retryPause; ; wait = min(2*wait, retryMost) {
			err := answer(ctx, owner.phone, c.SID, decision)
			if err == nil {
				break
			}
			if final(err) || !pauseFor(ctx, wait) {
				p.unsettled.Add(1)
				return
			}
		}
		if decision == device.Approve {
			p.approved.Add(1)
		} else {
			p.denied.Add(1)
		}
	})
}

func answer(ctx context.Context, phone *device.Device, sid string, d device.Decision) error {
	c, err := phone.Fetch(ctx, sid)
	if err != nil {
		return err
	}
	status := device.StatusApproved
	if d == device.Deny {
		status = device.StatusDenied
	}
	if c.Status == status {
		return nil // the try before has arrived after all
	}
	return phone.Answer(ctx, c, status)
}

// final reports that trying again is no use: the API has refused, or the
// challenge is over.
func final(err error) bool {
	var e *device.Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Code == device.CodeNotPending || e.Code == device.CodeRefused && e.Status/100 == 4 && e.Status != http.StatusTooManyRequests
}

// reaction is what a request's user does, and how long it takes to do it. It
// is the same in every run of a seed.
func reaction(seed uint64, requestID string) (device.Decision, time.Duration) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(requestID)) // a hash never fails
	n := h.Sum64() ^ seed*0x9e3779b97f4a7c15
	n ^= n >> 29
	pause := 100*time.Millisecond + time.Duration(n/16%900)*time.Millisecond
	switch n % 16 {
	case 0, 1:
		return device.Ignore, 0
	case 2, 3, 4, 5:
		return device.Deny, pause
	default:
		return device.Approve, pause
	}
}

// pauseFor reports false where ctx ended first.
func pauseFor(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
