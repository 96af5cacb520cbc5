package plugin_test

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of these tests. No test waits for time to pass:
// each waits for an event, and this only ends one that will not come.
const patience = 60 * time.Second

// message is one line between an observer and a process.
type message struct {
	Event string   `json:"event"`          // or command
	Text  string   `json:"text,omitempty"` // what the event is about
	N     int      `json:"n,omitempty"`
	List  []string `json:"list,omitempty"`
}

// observer is where the plugin processes of one test report to and take
// commands from. A process that has ended, however, is seen by the end of its
// connection.
type observer struct {
	t    *testing.T
	path string
	temp string // Spec.TempDir, which must be empty in the end
	l    net.Listener
}

func newObserver(t *testing.T) *observer {
	t.Helper()
	// t.TempDir is too long for a socket.
	dir, err := os.MkdirTemp("", "cs") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	o := &observer{t: t, path: filepath.Join(dir, "o"), temp: filepath.Join(dir, "t")}
	if err := os.Mkdir(o.temp, 0o700); err != nil {
		t.Fatal(err)
	}
	if o.l, err = net.Listen("unix", o.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.l.Close() })
	return o
}

// next returns the next process that connects.
func (o *observer) next() *peer {
	o.t.Helper()
	if err := o.l.(*net.UnixListener).SetDeadline(time.Now().Add(patience)); err != nil {
		o.t.Fatal(err)
	}
	conn, err := o.l.Accept()
	if err != nil {
		o.t.Fatalf("no process connected: %v", err)
	}
	p := &peer{t: o.t, conn: conn, in: bufio.NewReader(conn)}
	o.t.Cleanup(func() { _ = conn.Close() })
	p.pid = p.wait("hello").N
	return p
}

// noSocketLeft fails where something is left in the folder for sockets.
func (o *observer) noSocketLeft() {
	o.t.Helper()
	left, err := os.ReadDir(o.temp)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, e := range left {
		o.t.Errorf("left behind: %s", e.Name())
	}
}

// peer is one plugin process as its test sees it.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	pid  int
}

// wait skips to the next event of that name. What ends a drain is therefore
// sent and not done: its answer may come after the event.
func (p *peer) wait(event string) message {
	p.t.Helper()
	for {
		m, ok := p.read()
		if !ok {
			p.t.Fatalf("the process ended before %q", event)
		}
		if m.Event == event {
			return m
		}
	}
}

// do sends a command and returns its answer.
func (p *peer) do(command string, m message) message {
	p.t.Helper()
	p.send(command, m)
	return p.wait("done:" + command)
}

func (p *peer) send(command string, m message) {
	p.t.Helper()
	m.Event = command
	line, err := json.Marshal(m)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.conn.Write(append(line, '\n')); err != nil {
		p.t.Fatalf("%s: %v", command, err)
	}
}

// gone returns what was still reported before the process ended.
func (p *peer) gone() []string {
	p.t.Helper()
	var events []string
	for {
		m, ok := p.read()
		if !ok {
			return events
		}
		events = append(events, strings.TrimSuffix(m.Event+" "+m.Text, " "))
	}
}

// signal sends a signal to the process, by its id.
func (p *peer) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(p.pid, sig); err != nil {
		p.t.Fatal(err)
	}
}

// read returns false at the end of the connection.
func (p *peer) read() (message, bool) {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	line, err := p.in.ReadBytes('\n')
	if os.IsTimeout(err) {
		p.t.Fatalf("process %d neither spoke nor ended", p.pid)
	}
	if err != nil {
		return message{}, false
	}
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		p.t.Fatal(err)
	}
	return m, true
}
