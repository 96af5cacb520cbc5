package replay

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/broker/brokertest"
)

// outage is a way to the network that can be cut and mended.
type outage struct {
	dial kafka.DialFunc

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (o *outage) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cut {
		return nil, net.ErrClosed
	}
	c, err := o.dial(ctx, network, address)
	if err == nil {
		o.conns = append(o.conns, c)
	}
	return c, err
}

func (o *outage) set(cut bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cut = cut
	if cut {
		for _, c := range o.conns {
			_ = c.Close()
		}
		o.conns = nil
	}
}

// dies runs Into on a client that dies at its nth message, and reports whether it
// did, or was done before.
func (w *world) dies(m *brokertest.Mortal, cfg Config) bool {
	w.t.Helper()
	doomed := w.newClient(m.DialContext)
	died, err := m.Run(w.t.Context(), func(ctx context.Context) error {
		_, err := Into(ctx, doomed, cfg)
		return err
	}, func() { _ = doomed.Close() })
	if err != nil {
		w.t.Error(err)
	}
	return died
}

// A run that dies at any message that it sends, or right behind it, and the run
// after it: together they write every record once, as a reader sees it. So do
// they where the first began anew over what another had written.
func TestCrashAnywhereWritesOnce(t *testing.T) {
	const records = 12
	for _, restart := range []bool{false, true} {
		finished, died := 0, 0
		for last := 1; last <= 600 && finished < 2; last++ {
			behind := last%2 == 0
			t.Run(fmt.Sprintf("restart %v, message %d, behind %v", restart, last, behind), func(t *testing.T) {
				inBubble(t, func(t *testing.T, w *world) {
					w.fill(records)
					cfg := config()
					before := 0
					if restart {
						cfg.Rate = 0
						if r, err := w.into(t.Context(), cfg); err != nil || r.Written != records {
							t.Fatalf("%+v %v", r, err)
						}
						before = records
					}
					cfg.Rate, cfg.Restart = 20, restart // batches of two
					if w.dies(brokertest.NewMortal(w.net.DialContext, last, behind), cfg) {
						died++
					} else {
						finished++
					}
					cfg.Rate, cfg.Restart = 0, false
					r, err := w.into(t.Context(), cfg)
					if err != nil || r.Left() != 0 {
						t.Errorf("%+v %v", r, err)
					}
					w.wantOnceIn(before, records)
					w.wantTaken(records)
				})
			})
		}
		if died < 30 || finished < 2 {
			t.Errorf("it died at %d messages, and lived %d times: the count is wrong", died, finished)
		}
	}
}

// wantOnceIn looks at each run in the target: a first with so many records, if any,
// and one more that is whole, or has none at all where it died before it began.
func (w *world) wantOnceIn(before, records int) {
	w.t.Helper()
	runs := map[string]map[string]int{}
	for _, rec := range w.all(target) {
		run := header(rec, HeaderRun)
		if runs[run] == nil {
			runs[run] = map[string]int{}
		}
		runs[run][header(rec, HeaderSource)]++
	}
	if len(runs) == 0 || before == 0 && len(runs) != 1 || len(runs) > 2 {
		w.t.Errorf("%d runs", len(runs))
	}
	for run, sources := range runs {
		if len(sources) != records {
			w.t.Errorf("run %s has %d of %d", run, len(sources), records)
		}
		for at, n := range sources {
			if n != 1 {
				w.t.Errorf("run %s has %s %d times", run, at, n)
			}
		}
	}
}
