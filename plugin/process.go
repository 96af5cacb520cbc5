package plugin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// maxHandshake bounds the one line that a plugin writes to stdout. It holds a
// certificate, so it is about a kilobyte.
const maxHandshake = 64 << 10

// pipeGrace is how long after the end of a process its pipes may still deliver.
// Where a grandchild holds them open they would never end.
const pipeGrace = 500 * time.Millisecond

// process is the child as go-plugin's runner. We do not leave it to go-plugin's
// own, because that one
//   - parses the plugin's stderr with code that panics on {"@message":1},
//   - hands the host's stdin down,
//   - sees the end of the process only after its pipes have ended, seconds late
//     where a grandchild holds them,
//   - kills the process but not its group.
//
// It must not use Pdeathsig: that kills the plugin the moment the host (or just
// the thread that forked it) dies, and with it the calls in flight. The lease
// pipe tells the plugin the same and lets it finish.
type process struct {
	cmd    *exec.Cmd
	stdout *os.File    // what the child writes; closed by reap
	stderr *os.File    // likewise
	lease  *os.File    // our end; the kernel closes it when we die
	theirs []*os.File  // the child's ends
	lines  *lineLogger // takes stderr, and what follows the handshake on stdout

	handshake *handshakeReader
	exited    chan struct{} // closed when the child has ended
	exitErr   error         // valid once exited is closed
	reaped    chan struct{} // closed when nothing of it is left here either
	readers   sync.WaitGroup

	mu     sync.Mutex
	pid    int  // 0 before the start
	doomed bool // kill came first
	over   bool // the group is gone: its number may be somebody else's
}

var _ runner.Runner = (*process)(nil)

// newProcess prepares a child. Its environment is empty until it is set. What
// is never started has to be discarded.
func newProcess(path string, args []string, lines *lineLogger) (*process, error) {
	p := &process{lines: lines, exited: make(chan struct{}), reaped: make(chan struct{})}
	var theirOut, theirErr, theirLease *os.File
	var err error
	pipe := func(r, w **os.File) {
		if err == nil {
			*r, *w, err = os.Pipe()
		}
	}
	pipe(&p.stdout, &theirOut)
	pipe(&p.stderr, &theirErr)
	pipe(&theirLease, &p.lease)
	for _, f := range []*os.File{theirOut, theirErr, theirLease} {
		if f != nil {
			p.theirs = append(p.theirs, f)
		}
	}
	if err != nil {
		p.discard()
		return nil, err
	}
	p.handshake = newHandshakeReader()
	p.cmd = &exec.Cmd{
		Path:       path,
		Args:       append([]string{path}, args...),
		Env:        []string{},
		Stdout:     theirOut,
		Stderr:     theirErr,
		ExtraFiles: []*os.File{theirLease},
		// A group of its own: Ctrl-C in a terminal is for the host, and the
		// whole group can be killed.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	return p, nil
}

// Start starts the child and the goroutines that read from it and reap it.
func (p *process) Start(ctx context.Context) error {
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.closeTheirs()
	p.started()
	ctx = context.WithoutCancel(ctx) // it ends with the start; the readers don't
	p.readers.Go(func() { p.lines.read(ctx, p.stderr, "stderr") })
	p.readers.Go(func() { p.readStdout(ctx) })
	go p.reap()
	return nil
}

func (p *process) started() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pid = p.cmd.Process.Pid
	p.lines = p.lines.of(p.pid)
	if p.doomed {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	}
}

// readStdout hands the first line to the handshake and logs the rest.
func (p *process) readStdout(ctx context.Context) {
	in := bufio.NewReaderSize(p.stdout, maxHandshake)
	line, err := in.ReadSlice('\n')
	p.handshake.set(line)
	if err == nil || errors.Is(err, bufio.ErrBufferFull) {
		p.lines.read(ctx, in, "stdout")
	}
}

// reap waits for the child, then for its pipes, but not for long, and kills
// what may be left of its group.
func (p *process) reap() {
	defer close(p.reaped)
	p.exitErr = p.cmd.Wait()
	deadline := time.Now().Add(pipeGrace)
	_ = p.stdout.SetReadDeadline(deadline)
	_ = p.stderr.SetReadDeadline(deadline)
	p.kill()
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	close(p.exited)
	p.readers.Wait()
	p.closeOurs()
}

// kill ends the child and every process of its group at once, or as soon as it
// starts. A stopped process dies of it too.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doomed = true
	if p.pid != 0 && !p.over {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	}
}

// running reports whether the child was started and has not ended.
func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return p.id() != 0
	}
}

// id is the process id; 0 before the start.
func (p *process) id() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// setEnv sets the whole environment of the child.
func (p *process) setEnv(env ...[]string) {
	p.cmd.Env = slices.Concat(slices.Concat(env...), []string{leaseFDEnv + "=3"})
}

// discard releases what a process that was not started holds.
func (p *process) discard() {
	p.closeTheirs()
	p.closeOurs()
}

func (p *process) closeTheirs() {
	for _, f := range p.theirs {
		_ = f.Close()
	}
}

func (p *process) closeOurs() {
	for _, f := range []*os.File{p.stdout, p.stderr, p.lease} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// Wait returns when the child has ended.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return p.exitErr
}

// Kill kills the group.
func (p *process) Kill(context.Context) error {
	p.kill()
	return nil
}

// Stdout gives go-plugin the handshake and nothing more.
func (p *process) Stdout() io.ReadCloser { return p.handshake }

// Stderr gives go-plugin nothing.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(eofReader{}) }

// Name is the path of the binary.
func (p *process) Name() string { return p.cmd.Path }

// ID is the process id; empty where there is no process.
func (p *process) ID() string {
	if pid := p.id(); pid != 0 {
		return strconv.Itoa(pid)
	}
	return ""
}

// Diagnose has nothing to add: the errors of a start are made from what we saw
// ourselves.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost: both sides see the same files.
func (p *process) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin: both sides see the same files.
func (p *process) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }
