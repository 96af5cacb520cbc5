// Package plugintest holds a fake Connector, for the authors of hosts who want
// to test their side without Kafka and without an API.
//
// A Fake keeps the contract of plugin.Connector: its work is a number that the
// test raises and lowers, and a drain lasts until that number is zero. It runs
// in process (plugin.Embed) as well as in a plugin binary (plugin.Serve).
package plugintest

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin"
)

// Fake is a scripted plugin.Connector. Its fields are set before use; its
// methods may be called concurrently.
type Fake struct {
	// Description is what Info returns. Zero: a self-driven "fake".
	Description plugin.Info
	// Judge lists the faults of a document. nil: there are none.
	Judge func(doc []byte, secrets map[string]string) []connector.Violation
	// OnCall runs at the beginning of Configure, Start, Drain and Stop, with
	// that name; an error becomes the call's. nil: nothing happens.
	OnCall func(call string) error

	mu      sync.Mutex
	status  connector.Status
	err     error
	stopped bool
	changed chan struct{}
}

var _ plugin.Connector = (*Fake)(nil)

// Add puts n records in flight; a negative n finishes as many.
func (f *Fake) Add(n int) {
	f.change(func() {
		f.status.InFlight += n
		if n < 0 {
			f.status.Counters.Records -= int64(n)
		}
	})
}

// Fail puts the Fake into state Failed.
func (f *Fake) Fail(err error) {
	f.change(func() { f.err, f.status.State = err, connector.StateFailed })
}

// Set changes the status in place.
func (f *Fake) Set(edit func(st *connector.Status)) {
	f.change(func() { edit(&f.status) })
}

// Info implements plugin.Connector.
func (f *Fake) Info() plugin.Info {
	if f.Description.Name != "" {
		return f.Description
	}
	return plugin.Info{
		Name:         "fake",
		Version:      "0",
		ConfigSchema: []byte(`{}`),
		Capabilities: []plugin.Capability{plugin.CapabilitySelfDriven},
	}
}

// Validate implements plugin.Connector.
func (f *Fake) Validate(_ context.Context, doc []byte, secrets map[string]string, _ bool) ([]connector.Violation, error) {
	if f.Judge == nil {
		return nil, nil
	}
	return f.Judge(doc, secrets), nil
}

// Configure implements plugin.Connector.
func (f *Fake) Configure(ctx context.Context, doc []byte, secrets map[string]string) error {
	if err := f.call("Configure"); err != nil {
		return err
	}
	if faults, _ := f.Validate(ctx, doc, secrets, false); len(faults) > 0 {
		return &plugin.Error{Code: plugin.CodeConfig, Violations: faults}
	}
	f.change(func() { f.status.State = connector.StateConfigured })
	return nil
}

// Start implements plugin.Connector.
func (f *Fake) Start(context.Context) error {
	if err := f.call("Start"); err != nil {
		return err
	}
	f.change(func() { f.status.State, f.status.Ready = connector.StateRunning, true })
	return nil
}

// Drain implements plugin.Connector: it ends when nothing is in flight.
func (f *Fake) Drain(ctx context.Context, progress func(plugin.Progress)) error {
	if err := f.call("Drain"); err != nil {
		return err
	}
	f.change(func() { f.status.State, f.status.Ready = connector.StateDraining, false })
	for {
		changes := f.Changes()
		st, stopped := f.snapshot()
		progress(plugin.Progress{InFlight: st.InFlight, Held: st.InFlight})
		if st.InFlight == 0 {
			f.change(func() { f.status.State = connector.StateStopped })
			return nil
		}
		if stopped || ctx.Err() != nil {
			return &plugin.Error{Code: plugin.CodeAbandoned, Abandoned: st.InFlight}
		}
		select {
		case <-changes:
		case <-ctx.Done():
		}
	}
}

// Stop implements plugin.Connector.
func (f *Fake) Stop(context.Context) error {
	if err := f.call("Stop"); err != nil {
		return err
	}
	f.change(func() { f.stopped, f.status.State, f.status.Ready = true, connector.StateStopped, false })
	return nil
}

// Status implements plugin.Connector.
func (f *Fake) Status() connector.Status {
	st, _ := f.snapshot()
	return st
}

// Err implements plugin.Connector.
func (f *Fake) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Changes implements plugin.Connector.
func (f *Fake) Changes() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	return f.changed
}

// WriteMetrics implements plugin.Connector.
func (f *Fake) WriteMetrics(w io.Writer) error {
	_, err := fmt.Fprintf(w, "# TYPE fake_in_flight gauge\nfake_in_flight %d\n", f.Status().InFlight)
	return err
}

func (f *Fake) call(name string) error {
	if f.OnCall == nil {
		return nil
	}
	return f.OnCall(name)
}

func (f *Fake) snapshot() (st connector.Status, stopped bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	st = f.status
	if st.State == "" {
		st.State = connector.StateNew
	}
	return st, f.stopped
}

func (f *Fake) change(edit func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit()
	if f.changed != nil {
		close(f.changed)
	}
	f.changed = make(chan struct{})
}
