package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

// binary is the built command; the tests of real processes share it.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "countersign-integration-")
	if err != nil {
		return "", err
	}
	binaryDir = dir
	path := filepath.Join(dir, "countersign")
	out, err := exec.Command("go", "build", "-o", path, "../cmd/countersign").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// binaryDir is where binary has built it; empty: it has not.
var binaryDir string

// hostProcess is a running `countersign host` with its plugin child.
type hostProcess struct {
	t      testing.TB
	cmd    *exec.Cmd
	stderr *lockedBuffer
	exited chan struct{}
	err    error
	http   *http.Client
	url    string
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// host starts a host in a process group of its own, with its status listener
// on a free port.
func (w *world) host(rate int) *hostProcess {
	w.t.Helper()
	bin, err := binary()
	must(w.t, err)
	config := filepath.Join(w.t.TempDir(), "countersign.yaml")
	must(w.t, os.WriteFile(config, fmt.Appendf(nil, `
kafka:%s
  session_timeout: 12s
  rebalance_timeout: 20s
drain_timeout: 5s
accounts:
  main:
    account_sid: %s
    auth_token: ${env:TEST_TOKEN}
    base_url: %s
    rate: {per_second: %d, burst: 5}
    breaker: {open: 500ms}
`, w.yaml(), emulator.DefaultAccountSID, w.api.URL(), rate), 0o600))
	h := &hostProcess{t: w.t, stderr: &lockedBuffer{}, exited: make(chan struct{}), http: &http.Client{Timeout: 5 * time.Second}}
	h.cmd = exec.Command(bin, "host", "--config", config, "--listen", "127.0.0.1:0", "--log-format", "json")
	h.cmd.Env = append(os.Environ(), "TEST_TOKEN="+emulator.DefaultAuthToken)
	h.cmd.Stderr = h.stderr
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(w.t, h.cmd.Start())
	go func() { h.err = h.cmd.Wait(); close(h.exited) }()
	w.t.Cleanup(func() {
		h.http.CloseIdleConnections()
		if !h.gone() {
			_ = h.cmd.Process.Kill()
			<-h.exited
		}
		if w.t.Failed() {
			w.t.Logf("host %d logged:\n%s", h.cmd.Process.Pid, h.stderr)
		}
	})
	w.await("the host to listen", func() bool {
		m := listening.FindStringSubmatch(h.stderr.String())
		if m != nil {
			h.url = "http://" + m[1]
		}
		return m != nil
	})
	return h
}

var listening = regexp.MustCompile(`"msg":"listening","url":"http://(127\.0\.0\.1:\d+)"`)

func (h *hostProcess) gone() bool {
	select {
	case <-h.exited:
		return true
	default:
		return false
	}
}

// hostStatus is what these tests read of /status.
type hostStatus struct {
	Plugin   struct{ PID int }
	Lanes    []struct{ Partition int }
	Accounts []struct {
		PerSecond float64 `json:"per_second"`
	}
	Counters struct{ Commits int }
}

func (h *hostProcess) status() hostStatus {
	var s hostStatus
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, h.url+"/status", nil)
	must(h.t, err)
	res, err := h.http.Do(req)
	if err != nil {
		return s
	}
	defer func() { _ = res.Body.Close() }()
	must(h.t, json.NewDecoder(res.Body).Decode(&s))
	return s
}

func (h *hostProcess) owns(n int) func() bool {
	return func() bool { return len(h.status().Lanes) == n }
}

// alive reports whether a process exists and is no zombie.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !bytes.Contains(stat, []byte(") Z "))
}

// TestTwoHostsShareAndHandOver: two host processes in one group share the
// partitions and the rate limit; SIGTERM to one in the middle of the work
// loses nothing and repeats nothing.
func TestTwoHostsShareAndHandOver(t *testing.T) {
	w := newWorld(t, emulator.Config{Faults: emulator.Faults{Latency: emulator.Latency{Min: 5 * time.Millisecond, Max: 80 * time.Millisecond}}})
	first := w.host(100)
	w.await("the first host to own all partitions", first.owns(partitions))
	second := w.host(100)
	w.await("the hosts to share the partitions", func() bool {
		return first.owns(partitions/2)() && second.owns(partitions/2)()
	})
	for _, h := range []*hostProcess{first, second} {
		s := h.status()
		if s.Plugin.PID == 0 || s.Plugin.PID == h.cmd.Process.Pid || !alive(s.Plugin.PID) {
			t.Errorf("plugin pid %d of host %d: want another, living process", s.Plugin.PID, h.cmd.Process.Pid)
		}
		if got := s.Accounts[0].PerSecond; got != 50 {
			t.Errorf("a host with half of the partitions takes %v of 100 calls a second", got)
		}
	}
	const n = 500
	for i := range n {
		w.send(w.create(i))
	}
	w.await("both hosts to work", func() bool {
		return first.status().Counters.Commits > 0 && second.status().Counters.Commits > 0
	})
	plugin := second.status().Plugin.PID
	must(t, second.cmd.Process.Signal(syscall.SIGTERM))
	<-second.exited
	if second.err != nil {
		t.Errorf("the host that got SIGTERM ended with %v", second.err)
	}
	if alive(plugin) {
		t.Errorf("plugin %d outlived its host", plugin)
	}
	got := w.awaitAll()
	if len(got.doubled) > 0 || got.outcomes[schemas.OutcomeSucceeded] != n {
		t.Errorf("outcomes %v, doubled %v", got.outcomes, got.doubled)
	}
	if st := w.api.Stats(); st.Creates != n || st.Calls[emulator.OperationCreate] != n {
		t.Errorf("%d challenges made in %d calls for %d requests", st.Creates, st.Calls[emulator.OperationCreate], n)
	}
	must(t, first.cmd.Process.Signal(syscall.SIGTERM))
	<-first.exited
	if first.err != nil {
		t.Errorf("the last host ended with %v", first.err)
	}
}

// TestKilledHostLeavesNoOrphan: after SIGKILL of a host its plugin finishes
// what it has in hand, leaves the group and ends by itself; the other host
// takes over, and nothing is lost or called twice.
func TestKilledHostLeavesNoOrphan(t *testing.T) {
	w := newWorld(t, emulator.Config{Faults: emulator.Faults{Latency: emulator.Latency{Min: 5 * time.Millisecond, Max: 80 * time.Millisecond}}})
	killed := w.host(100)
	w.await("the host to own all partitions", killed.owns(partitions))
	const n = 300
	for i := range n {
		w.send(w.create(i))
	}
	w.await("the host to work", func() bool { return killed.status().Counters.Commits > 0 })
	plugin := killed.status().Plugin.PID
	must(t, killed.cmd.Process.Kill())
	<-killed.exited
	w.await("the orphaned plugin to end by itself", func() bool { return !alive(plugin) })
	heir := w.host(100)
	got := w.awaitAll()
	if len(got.doubled) > 0 || got.outcomes[schemas.OutcomeSucceeded] != n {
		t.Errorf("outcomes %v, doubled %v", got.outcomes, got.doubled)
	}
	if st := w.api.Stats(); st.Creates != n {
		t.Errorf("%d challenges made for %d requests", st.Creates, n)
	}
	must(t, heir.cmd.Process.Signal(syscall.SIGTERM))
	<-heir.exited
}
