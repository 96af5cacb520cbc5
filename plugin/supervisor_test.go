package plugin_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin"
)

// selfSum is the digest of the test binary, which is what all tests load.
var selfSum = sync.OnceValues(func() (string, error) { return plugin.SHA256File(os.Args[0]) })

// spec runs the test binary as a scripted plugin.
func (o *observer) spec() plugin.Spec {
	o.t.Helper()
	self, err := os.Executable()
	if err != nil {
		o.t.Fatal(err)
	}
	sum, err := selfSum()
	if err != nil {
		o.t.Fatal(err)
	}
	return plugin.Spec{
		Path:       self,
		SHA256:     sum,
		Env:        []string{modeEnv + "=plugin", observerEnv + "=" + o.path, promptExit},
		TempDir:    o.temp,
		BackoffMin: time.Millisecond,
		BackoffMax: 2 * time.Millisecond,
	}
}

// hosted is a Supervisor under way.
type hosted struct {
	*plugin.Supervisor
	t      *testing.T
	cancel context.CancelFunc
	result chan error
}

func host(t *testing.T, spec plugin.Spec) *hosted {
	t.Helper()
	s, err := plugin.NewSupervisor(spec)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	h := &hosted{Supervisor: s, t: t, cancel: cancel, result: make(chan error, 1)}
	go func() { h.result <- s.Run(ctx) }()
	t.Cleanup(cancel)
	return h
}

// end returns what Run returns.
func (h *hosted) end() error {
	h.t.Helper()
	select {
	case err := <-h.result:
		return err
	case <-time.After(patience):
		h.t.Fatal("Run did not end")
		return nil
	}
}

func wantCode(t *testing.T, err error, code plugin.Code) *plugin.Error {
	t.Helper()
	var e *plugin.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("error %v, want code %s", err, code)
	}
	return e
}

// The life of a plugin: started, watched, asked, drained while work is in
// flight, and gone.
func TestRunDrainsWhatIsInFlight(t *testing.T) {
	o := newObserver(t)
	spec := o.spec()
	ready := make(chan connector.Status, 64)
	spec.OnStatus = func(st connector.Status) { ready <- st }
	h := host(t, spec)
	p := o.next()
	p.wait("call:Start")
	p.do("add", message{N: 3})
	for st := range ready {
		if st.Ready && st.InFlight == 3 {
			break
		}
	}
	if h.PID() != p.pid || h.Status().InFlight != 3 {
		t.Errorf("PID %d, status %+v; want %d and 3 in flight", h.PID(), h.Status(), p.pid)
	}
	var metrics bytes.Buffer
	if err := h.WriteMetrics(t.Context(), &metrics); err != nil || !bytes.Contains(metrics.Bytes(), []byte("fake_in_flight 3")) {
		t.Errorf("metrics %q, %v", metrics.String(), err)
	}
	if err := h.Run(t.Context()); plugin.CodeOf(err) != plugin.CodeState {
		t.Errorf("a second Run: %v", err)
	}

	h.cancel()
	p.wait("call:Drain")
	p.send("add", message{N: -2})
	p.send("add", message{N: -1})
	if m := p.wait("drained"); m.Text != "" {
		t.Errorf("drained with %q", m.Text)
	}
	if err := h.end(); err != nil {
		t.Error(err)
	}
	p.wait("call:Stop")
	p.gone()
	o.noSocketLeft()
	if h.PID() != 0 || h.Restarts() != 0 || h.Status().State != connector.StateStopped {
		t.Errorf("PID %d, %d restarts, status %+v after the end", h.PID(), h.Restarts(), h.Status())
	}
	wantCode(t, h.WriteMetrics(t.Context(), &metrics), plugin.CodeNotRunning)
}

// What a plugin cannot finish within the drain timeout is an error, with its
// number.
func TestForeverBusyPluginIsAbandoned(t *testing.T) {
	o := newObserver(t)
	spec := o.spec()
	spec.DrainTimeout = 50 * time.Millisecond
	h := host(t, spec)
	p := o.next()
	p.wait("call:Start")
	p.do("add", message{N: 7})
	h.cancel()
	if e := wantCode(t, h.end(), plugin.CodeAbandoned); e.Abandoned != 7 {
		t.Errorf("%d abandoned, want 7", e.Abandoned)
	}
	p.gone()
	o.noSocketLeft()
}

// Each crash makes a new process out of the same Spec: nothing of a start is
// used twice, least of all the hash of the checksum.
func TestCrashedPluginIsReplaced(t *testing.T) {
	o := newObserver(t)
	h := host(t, o.spec())
	for range 3 {
		p := o.next()
		p.wait("call:Start")
		p.send("crash", message{})
		p.gone()
	}
	p := o.next()
	p.wait("call:Start")
	if n := h.Restarts(); n != 3 {
		t.Errorf("%d restarts, want 3", n)
	}
	h.cancel()
	if err := h.end(); err != nil {
		t.Error(err)
	}
	o.noSocketLeft()
}

// A process that exits while it drains did not finish: nobody knows what.
func TestCrashWhileDraining(t *testing.T) {
	o := newObserver(t)
	h := host(t, o.spec())
	p := o.next()
	p.wait("call:Start")
	p.do("add", message{N: 1})
	h.cancel()
	p.wait("call:Drain")
	p.send("crash", message{})
	if e := wantCode(t, h.end(), plugin.CodeAbandoned); e.Abandoned != -1 || plugin.CodeOf(e.Err) != plugin.CodeCrashed {
		t.Errorf("%+v", e)
	}
	o.noSocketLeft()
}

// The status of a plugin that is down is Failed, and says why.
func TestStatusWhileDown(t *testing.T) {
	o := newObserver(t)
	spec := o.spec()
	statuses := make(chan connector.Status, 64)
	spec.OnStatus = func(st connector.Status) { statuses <- st }
	h := host(t, spec)
	p := o.next()
	p.wait("call:Start")
	p.send("crash", message{})
	for st := range statuses {
		if st.State == connector.StateFailed {
			if st.Ready || !strings.Contains(st.Reason, "exit status 3") {
				t.Errorf("%+v", st)
			}
			break
		}
	}
	o.next().wait("call:Start")
	for st := range statuses {
		if st.Ready {
			break
		}
	}
	h.cancel()
	if err := h.end(); err != nil {
		t.Error(err)
	}
}

// A process that hangs while it drains is not waited for until the timeout.
func TestHungWhileDraining(t *testing.T) {
	o := newObserver(t)
	spec := o.spec()
	spec.HeartbeatInterval = 300 * time.Millisecond
	spec.DrainTimeout = time.Hour
	h := host(t, spec)
	p := o.next()
	p.wait("call:Start")
	p.do("add", message{N: 1})
	h.cancel()
	p.wait("call:Drain")
	p.signal(syscall.SIGSTOP)
	if e := wantCode(t, h.end(), plugin.CodeAbandoned); plugin.CodeOf(e.Err) != plugin.CodeHung {
		t.Errorf("%+v", e)
	}
	p.gone()
	o.noSocketLeft()
}

// A stopped process answers nothing, not even Kill. The watchdog ends it.
func TestHungPluginIsReplaced(t *testing.T) {
	hang := map[string]func(p *peer){
		"process stopped": func(p *peer) { p.signal(syscall.SIGSTOP) },
		"engine stuck":    func(p *peer) { p.send("block", message{}) },
	}
	for name, hangs := range hang {
		t.Run(name, func(t *testing.T) {
			o := newObserver(t)
			spec := o.spec()
			spec.HeartbeatInterval = 300 * time.Millisecond
			h := host(t, spec)
			p := o.next()
			p.wait("call:Start")
			p.do("add", message{N: 1})
			hangs(p)
			p.gone()
			o.next().wait("call:Start")
			h.cancel()
			if err := h.end(); err != nil {
				t.Error(err)
			}
			o.noSocketLeft()
		})
	}
}

// A connector that fails by itself is replaced where that may help.
func TestFailedConnector(t *testing.T) {
	t.Run("retryable", func(t *testing.T) {
		o := newObserver(t)
		h := host(t, o.spec())
		p := o.next()
		p.wait("call:Start")
		p.send("fail", message{Text: string(plugin.CodeInternal)})
		o.next().wait("call:Start")
		h.cancel()
		if err := h.end(); err != nil {
			t.Error(err)
		}
	})
	t.Run("for good", func(t *testing.T) {
		o := newObserver(t)
		h := host(t, o.spec())
		p := o.next()
		p.wait("call:Start")
		p.send("fail", message{Text: string(plugin.CodeConfig)})
		wantCode(t, h.end(), plugin.CodeConfig)
		if st := h.Status(); st.State != connector.StateFailed || st.Reason == "" {
			t.Errorf("%+v", st)
		}
		p.gone()
		o.noSocketLeft()
	})
}
