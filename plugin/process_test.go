package plugin

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func sleeper(t *testing.T) *process {
	t.Helper()
	path, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProcess(path, []string{"1000"}, &lineLogger{log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	p.setEnv([]string{"A=b"}, nil)
	return p
}

func killedBy(t *testing.T, p *process) syscall.Signal {
	t.Helper()
	within(t, p.reaped, "the end of the process")
	if err := p.Wait(context.Background()); err == nil {
		t.Fatal("a killed process ended well")
	}
	return p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal()
}

// A kill counts whenever it comes: before the start, during and after.
func TestProcessKill(t *testing.T) {
	p := sleeper(t)
	p.kill()
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sig := killedBy(t, p); sig != syscall.SIGKILL {
		t.Errorf("ended by %s", sig)
	}

	p = sleeper(t)
	if p.running() || p.ID() != "" {
		t.Error("running before the start")
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !p.running() || p.ID() == "" || p.Name() != p.cmd.Path {
		t.Errorf("running %v, id %q, name %q", p.running(), p.ID(), p.Name())
	}
	if pgid, err := syscall.Getpgid(p.id()); err != nil || pgid != p.id() {
		t.Errorf("process group %d of process %d, %v", pgid, p.id(), err)
	}
	if err := p.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	if sig := killedBy(t, p); sig != syscall.SIGKILL || p.running() {
		t.Errorf("ended by %s, running %v", sig, p.running())
	}
	p.kill() // the number may be somebody else's by now: nothing happens
}

// What is never started leaves no descriptors.
func TestProcessDiscard(t *testing.T) {
	p := sleeper(t)
	p.discard()
	for _, f := range append(p.theirs, p.stdout, p.stderr, p.lease) {
		if _, err := f.Stat(); err == nil {
			t.Errorf("%s is still open", f.Name())
		}
	}
	p = sleeper(t)
	p.cmd.Path = os.DevNull
	if err := p.Start(t.Context()); err == nil {
		t.Error("started " + os.DevNull)
	}
	p.discard()
}
