package device_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

// collect gathers errors from Run.
type collect struct {
	mu   sync.Mutex
	errs []error
	hit  chan struct{}
}

func (c *collect) add(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
	select {
	case c.hit <- struct{}{}:
	default:
	}
}

func TestRunDecidesOnceAndSurvivesAnOutage(t *testing.T) {
	e, cfg := start(t, emulator.Config{})
	seen := &collect{hit: make(chan struct{}, 1)}
	cfg.OnError = seen.add
	d := enrol(t, cfg)
	decisions := map[string]device.Decision{"yes": device.Approve, "no": device.Deny, "maybe": device.Ignore}
	sids := map[string]string{}
	for message := range decisions {
		sids[message] = create(t, cfg, d, message)
	}
	asked := map[string]int{} // used by Run's goroutine alone until it has ended
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	answeredLate := make(chan struct{})
	go func() {
		ended <- d.Run(ctx, func(c device.Challenge) device.Decision {
			asked[c.Details.Message]++
			if c.Details.Message == "late" {
				close(answeredLate)
				return device.Approve
			}
			return decisions[c.Details.Message]
		})
	}()
	waitStatus(t, d, sids["yes"], "approved")
	waitStatus(t, d, sids["no"], "denied")
	if err := e.OutageUnavailable(time.Hour); err != nil {
		t.Fatal(err)
	}
	<-seen.hit
	e.EndOutage()
	late := create(t, cfg, d, "late")
	<-answeredLate
	waitStatus(t, d, late, "approved")
	waitStatus(t, d, sids["maybe"], "pending")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for message, n := range asked {
		if n != 1 {
			t.Errorf("asked %d times about %q", n, message)
		}
	}
	for _, err := range seen.errs {
		wantCode(t, "in the outage", err, device.CodeRefused)
	}
}

// waitStatus fetches until the challenge has the status.
func waitStatus(t *testing.T, d *device.Device, sid, status string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		c, err := d.Fetch(ctx, sid)
		if err != nil {
			t.Fatal(err)
		}
		if c.Status == status {
			return
		}
	}
}

// An answer that got lost is tried again with the same decision.
func TestRunTriesAnAnswerAgain(t *testing.T) {
	e, cfg := start(t, emulator.Config{Faults: emulator.Faults{Devices: true}})
	seen := &collect{hit: make(chan struct{}, 1)}
	cfg.OnError = seen.add
	d := enrol(t, cfg)
	if err := e.Script(emulator.OperationUpdate, emulator.FaultResetBefore, emulator.FaultServerError); err != nil {
		t.Fatal(err)
	}
	sid := create(t, cfg, d, "Sign in?")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	asked := 0
	go func() {
		ended <- d.Run(ctx, func(device.Challenge) device.Decision { asked++; return device.Deny })
	}()
	waitStatus(t, d, sid, "denied")
	cancel()
	if err := <-ended; err != nil || asked != 1 || len(seen.errs) != 2 {
		t.Errorf("%v, asked %d times, %v", err, asked, seen.errs)
	}
	wantCode(t, "reset", seen.errs[0], device.CodeTransport)
	wantCode(t, "error", seen.errs[1], device.CodeRefused)
}

func TestRunEndsWithItsContext(t *testing.T) {
	_, cfg := start(t, emulator.Config{})
	cfg.OnError = func(err error) { t.Errorf("told of %v", err) }
	d := enrol(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Run(ctx, func(device.Challenge) device.Decision { return device.Ignore }); err != nil {
		t.Error(err)
	}
}

// Run hears of an answer that stands though its reply was lost, and says it of one
// that came too late.
func TestRunHearsWhatBecameOfAnAnswer(t *testing.T) {
	now := atomic.Int64{}
	now.Store(time.Now().Unix())
	e, cfg := start(t, emulator.Config{Faults: emulator.Faults{Devices: true}, Now: func() time.Time { return time.Unix(now.Load(), 0) }})
	seen := &collect{hit: make(chan struct{}, 1)}
	told := make(chan device.Decision, 2)
	cfg.OnError = seen.add
	cfg.OnAnswer = func(_ device.Challenge, d device.Decision) { told <- d }
	d := enrol(t, cfg)
	if err := e.Script(emulator.OperationUpdate, emulator.FaultResetAfter); err != nil {
		t.Fatal(err)
	}
	create(t, cfg, d, "lost reply")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- d.Run(ctx, func(c device.Challenge) device.Decision {
			if c.Details.Message == "slow" {
				now.Add(301) // while its owner thinks
			}
			return device.Approve
		})
	}()
	if got := <-told; got != device.Approve {
		t.Errorf("told %v", got)
	}
	create(t, cfg, d, "slow")
	for late := false; !late; {
		<-seen.hit
		seen.mu.Lock()
		late = len(seen.errs) == 2
		seen.mu.Unlock()
	}
	cancel()
	if err := <-ended; err != nil || len(told) != 0 {
		t.Errorf("%v, told %d more", err, len(told))
	}
	wantCode(t, "reset", seen.errs[0], device.CodeTransport)
	wantCode(t, "expired", seen.errs[1], device.CodeNotPending)
}
