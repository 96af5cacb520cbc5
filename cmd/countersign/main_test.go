package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// binary is this command, built once.
var binary string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "plugin" {
		main() // host re-executes its own binary, which is this test, as the plugin
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "countersign-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "countersign")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	if code := m.Run(); code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// patience bounds every wait in these tests. It is no part of what they check:
// nothing takes that long unless it hangs.
const patience = 90 * time.Second

// ended is a command line that has come to its end.
type ended struct {
	code     int
	out, err string
}

// cli runs one command line in this process.
func cli(t *testing.T, stdin string, args ...string) ended {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errOut bytes.Buffer
	code := execute(ctx, args, strings.NewReader(stdin), &out, &errOut)
	if ctx.Err() != nil {
		t.Fatalf("countersign %q hangs\n%s%s", args, &out, &errOut)
	}
	return ended{code: code, out: out.String(), err: errOut.String()}
}

// want checks the exit code.
func (e ended) want(t *testing.T, code int) ended {
	t.Helper()
	if e.code != code {
		t.Fatalf("exit code %d, want %d\nstdout: %s\nstderr: %s", e.code, code, e.out, e.err)
	}
	return e
}

// command is one that runs while the test goes on.
type command struct {
	out, err *stream
	end      func() // asks it to end, as Ctrl-C would
	code     <-chan int
}

// start runs a command line in this process until end.
func start(t *testing.T, args ...string) *command {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	code := make(chan int, 1)
	c := &command{out: newStream(), err: newStream(), end: cancel, code: code}
	var running sync.WaitGroup
	running.Go(func() { code <- execute(ctx, args, strings.NewReader(""), c.out, c.err) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return c
}

// spawn runs a command line in a process of its own.
func spawn(t *testing.T, args ...string) (*command, *os.Process) {
	t.Helper()
	c := &command{out: newStream(), err: newStream()}
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = c.out, c.err
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	code := make(chan int, 1)
	c.code = code
	c.end = func() { _ = cmd.Process.Signal(syscall.SIGTERM) }
	var running sync.WaitGroup
	running.Go(func() {
		_ = cmd.Wait() // the exit code says it
		code <- cmd.ProcessState.ExitCode()
	})
	t.Cleanup(func() { _ = cmd.Process.Kill(); running.Wait() })
	return c, cmd.Process
}

// wait returns when the command has ended.
func (c *command) wait(t *testing.T) ended {
	t.Helper()
	select {
	case code := <-c.code:
		return ended{code: code, out: c.out.String(), err: c.err.String()}
	case <-time.After(patience):
		t.Fatalf("it does not end\nstdout: %s\nstderr: %s", c.out, c.err)
		return ended{}
	}
}

// stream is an output that can be waited on.
type stream struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{} // closed at the next write
}

func newStream() *stream { return &stream{written: make(chan struct{})} }

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.written)
	s.written = make(chan struct{})
	return s.text.Write(p)
}

func (s *stream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// line waits for a line with the text in it, and returns that line.
func (s *stream) line(t *testing.T, text string) string {
	t.Helper()
	return s.nth(t, text, 1)
}

// nth waits for the nth such line.
func (s *stream) nth(t *testing.T, text string, n int) string {
	t.Helper()
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		all, written := s.text.String(), s.written
		s.mu.Unlock()
		seen := 0
		for line := range strings.Lines(all) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				if seen++; seen == n {
					return strings.TrimSpace(line)
				}
			}
		}
		select {
		case <-written:
		case <-timeout:
			t.Fatalf("no %q (%d) in:\n%s", text, n, all)
		}
	}
}
