package scale

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/connector"
)

// memberEnv names the configuration of a member: the test's binary, started
// again, is what `countersign run` is, with its runtime to be looked at.
const memberEnv = "SCALE_MEMBER"

// figures are what a member tells of itself, beside its status.
type figures struct {
	Goroutines int   `json:"goroutines"`
	HeapLive   int64 `json:"heap_live"` // bytes marked by the last garbage collection
	RSS        int64 `json:"rss"`
	FDs        int   `json:"fds"`
	Lanes      int   `json:"lanes"`
	Begun      int   `json:"begun"` // lanes that fetch
	Joined     bool  `json:"joined"`
	Records    int64 `json:"records"`
}

func runMember(ctx context.Context, path string) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	cfg, err := connector.ParseConfig(doc, map[string]string{})
	if err != nil {
		return err
	}
	c, err := connector.New(cfg, connector.WithLogger(slog.New(slog.NewJSONHandler(os.Stderr, nil))))
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/figures", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("gc") != "" {
			runtime.GC()
		}
		_ = json.NewEncoder(w).Encode(figuresOf(c))
	})
	mux.HandleFunc("/cpu", pprof.Profile)
	mux.Handle("/heap", pprof.Handler("heap"))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }()
	fmt.Println(l.Addr())
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	return errors.Join(c.Run(ctx), server.Close())
}

func figuresOf(c *connector.Connector) figures {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	s := c.Status()
	f := figures{
		Goroutines: runtime.NumGoroutine(), HeapLive: int64(live[0].Value.Uint64()),
		Lanes: len(s.Lanes), Joined: s.Ready, Records: s.Counters.Records,
	}
	for _, lane := range s.Lanes {
		// Every partition of a stage has had a record before.
		if lane.Committed > 0 {
			f.Begun++
		}
	}
	f.RSS, f.FDs = rss(os.Getpid()), fds(os.Getpid())
	return f
}

// member is a connector in a process of its own.
type member struct {
	t       testing.TB
	cmd     *exec.Cmd
	url     string
	http    *http.Client
	began   time.Time
	exited  chan struct{}
	err     error
	logPath string
}

func (s *stage) member() *member {
	s.t.Helper()
	s.members++
	logPath := filepath.Join(s.dir, fmt.Sprintf("member-%03d.log", s.members))
	log, err := os.Create(logPath)
	must(s.t, err)
	m := &member{
		t: s.t, cmd: exec.Command(os.Args[0]), exited: make(chan struct{}), logPath: logPath,
		http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}, began: time.Now(),
	}
	m.cmd.Env = append(os.Environ(), memberEnv+"="+s.config())
	m.cmd.Stderr = log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stdout, err := m.cmd.StdoutPipe()
	must(s.t, err)
	must(s.t, m.cmd.Start())
	lines := bufio.NewReader(stdout)
	addr, err := lines.ReadString('\n')
	if err == nil {
		m.url = "http://" + addr[:len(addr)-1]
	}
	go func() {
		defer close(m.exited)
		_, _ = io.Copy(io.Discard, lines)
		m.err = m.cmd.Wait()
		_ = log.Close()
	}()
	s.t.Cleanup(func() {
		m.kill()
		if s.t.Failed() {
			text, _ := os.ReadFile(logPath)
			s.t.Logf("member %d logged:\n%s", m.cmd.Process.Pid, text[max(0, len(text)-4000):])
		}
	})
	must(s.t, err)
	return m
}

func (m *member) get(path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, m.url+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := m.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	return io.ReadAll(res.Body)
}

// figures are empty once the member has gone.
func (m *member) figures(query string) (f figures) {
	body, err := m.get("/figures" + query)
	if err == nil {
		err = json.Unmarshal(body, &f)
	}
	if err != nil && !m.gone() {
		m.t.Error(err)
	}
	return f
}

func (m *member) gone() bool {
	select {
	case <-m.exited:
		return true
	default:
		return false
	}
}

// leave ends it in good order.
func (m *member) leave() {
	m.t.Helper()
	m.terminate()
	m.ended()
}

func (m *member) terminate() { _ = m.cmd.Process.Signal(syscall.SIGTERM) }

func (m *member) ended() {
	m.t.Helper()
	<-m.exited
	m.http.CloseIdleConnections()
	if m.err != nil {
		m.t.Errorf("member %d ended with %v", m.cmd.Process.Pid, m.err)
	}
}

func (m *member) kill() {
	if !m.gone() {
		_ = m.cmd.Process.Kill()
	}
	<-m.exited
	m.http.CloseIdleConnections()
}
