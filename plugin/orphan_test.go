package plugin_test

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hostProcess is a host in a process of its own, so that it can be killed.
type hostProcess struct {
	*exec.Cmd
	t      *testing.T
	output *bytes.Buffer
	ended  chan error
}

func (o *observer) hostProcess() *hostProcess {
	o.t.Helper()
	h := &hostProcess{Cmd: exec.Command(os.Args[0]), t: o.t, output: new(bytes.Buffer), ended: make(chan error, 1)}
	h.Env = append(os.Environ(), modeEnv+"=host", observerEnv+"="+o.path, tempEnv+"="+o.temp, promptExit)
	// A pipe of our own, which the plugin does not hold: Wait would otherwise
	// wait for the orphan too.
	r, w, err := os.Pipe()
	if err != nil {
		o.t.Fatal(err)
	}
	h.Stdout, h.Stderr = w, w
	if err := h.Start(); err != nil {
		o.t.Fatal(err)
	}
	_ = w.Close()
	go func() {
		_, _ = io.Copy(h.output, r)
		_ = r.Close()
		h.ended <- h.Wait()
	}()
	o.t.Cleanup(func() { _ = h.Process.Kill() })
	return h
}

func (h *hostProcess) end() error {
	h.t.Helper()
	select {
	case err := <-h.ended:
		return err
	case <-time.After(patience):
		h.t.Fatal("the host did not end")
		return nil
	}
}

// The host is killed and cannot say anything: the plugin takes no new work,
// finishes what is in flight, cleans up and ends. That nobody reads its stderr
// any more does not kill it on the way.
func TestHostKilled(t *testing.T) {
	o := newObserver(t)
	h := o.hostProcess()
	p := o.next()
	p.wait("call:Start")
	p.do("add", message{N: 2})
	if err := h.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.wait("call:Drain")
	if err := h.end(); err == nil {
		t.Error("a killed host reports success")
	}
	p.do("raw", message{Text: "nobody reads this\n"})
	p.do("log", message{Text: "nor this"})
	p.do("raw", message{Text: "nor that\n"})
	p.send("add", message{N: -2})
	if m := p.wait("drained"); m.Text != "" {
		t.Errorf("drained with %q", m.Text)
	}
	p.wait("call:Stop")
	p.gone()
	o.noSocketLeft()
}

// A host that is stopped is not gone, and a reader that does not read does not
// hold the plugin up.
func TestHostStopped(t *testing.T) {
	o := newObserver(t)
	h := o.hostProcess()
	p := o.next()
	p.wait("call:Start")
	if err := h.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	line := string(bytes.Repeat([]byte("x"), 1000))
	for range 200 { // more than any pipe holds
		p.do("log", message{Text: line})
	}
	if err := h.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := h.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := h.end(); err != nil {
		t.Errorf("%v\n%s", err, h.output)
	}
	p.gone()
	o.noSocketLeft()
}

// A terminal or a service manager signals both at once. The plugin leaves the
// answer to its host, whose Drain finishes everything.
func TestSignalToHostAndPlugin(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			o := newObserver(t)
			h := o.hostProcess()
			p := o.next()
			p.wait("call:Start")
			p.do("add", message{N: 1})
			p.signal(sig)
			if err := h.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			p.wait("call:Drain")
			p.signal(sig) // impatient
			p.send("add", message{N: -1})
			if m := p.wait("drained"); m.Text != "" {
				t.Errorf("drained with %q", m.Text)
			}
			if err := h.end(); err != nil {
				t.Errorf("%v\n%s", err, h.output)
			}
			p.gone()
			o.noSocketLeft()
		})
	}
}

// Alone, a signal to the plugin changes nothing as long as its host lives.
func TestSignalToPluginAlone(t *testing.T) {
	o := newObserver(t)
	h := host(t, o.spec())
	p := o.next()
	p.wait("call:Start")
	p.signal(syscall.SIGTERM)
	p.signal(syscall.SIGINT)
	p.do("add", message{N: 0})
	h.cancel()
	if err := h.end(); err != nil {
		t.Error(err)
	}
	if h.Restarts() != 0 {
		t.Error("the plugin was replaced")
	}
}

// The host dies in the middle of the drain that it asked for: the drain is the
// plugin's own and goes on.
func TestHostKilledWhileDraining(t *testing.T) {
	o := newObserver(t)
	h := o.hostProcess()
	p := o.next()
	p.wait("call:Start")
	p.do("add", message{N: 1})
	if err := h.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.wait("call:Drain")
	if err := h.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = h.end()
	p.send("add", message{N: -1})
	if m := p.wait("drained"); m.Text != "" {
		t.Errorf("drained with %q", m.Text)
	}
	for _, event := range p.gone() {
		if event == "call:Drain" {
			t.Error("drained twice")
		}
	}
	o.noSocketLeft()
}

// An orphan that cannot finish ends with the orphan grace all the same.
func TestOrphanGraceEnds(t *testing.T) {
	o := newObserver(t)
	spec := o.spec()
	spec.OrphanGrace = 50 * time.Millisecond
	logs := make(records, 4096)
	spec.Logger = slog.New(logs)
	h := host(t, spec)
	p := o.next()
	p.wait("call:Start")
	p.do("add", message{N: 1})
	// Only the plugin thinks that its host is gone: the lease pipe breaks.
	if err := h.BreakLeasePipe(); err != nil {
		t.Fatal(err)
	}
	if m := p.wait("drained"); m.Text != "abandoned" {
		t.Errorf("drained with %q", m.Text)
	}
	p.gone()
	if _, attrs := logs.next(t, "plugin down"); !strings.Contains(attrs["error"], "exit status 1") {
		t.Errorf("logged %v", attrs)
	}
	o.next().wait("call:Start")
	h.cancel()
	if err := h.end(); err != nil {
		t.Error(err)
	}
}

// socketOf finds the socket of the one plugin that runs.
func (o *observer) socketOf() string {
	o.t.Helper()
	found, err := filepath.Glob(filepath.Join(o.temp, "*", "*"))
	if err != nil || len(found) != 1 {
		o.t.Fatalf("sockets %q, %v", found, err)
	}
	return found[0]
}
