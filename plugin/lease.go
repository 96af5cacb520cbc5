package plugin

import (
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// leaseFDEnv names the descriptor of the inherited lease pipe. The host holds
// the other end and never writes; end of file means that the host is gone.
const leaseFDEnv = "COUNTERSIGN_PLUGIN_LEASE_FD"

// lease is the plugin's proof that its host is alive: an inherited pipe, which
// is there before the first call, and the Lease stream, which any host can
// open. The kernel breaks both when the host ends, however it ends. Either one
// breaking is enough.
type lease struct {
	gone chan struct{} // closed when the first of them breaks

	mu     sync.Mutex
	pipe   *os.File // nil: none was inherited
	stream bool     // a Lease stream is open
	grace  time.Duration
	why    string // what broke first
	readWG sync.WaitGroup
}

func newLease() *lease {
	return &lease{gone: make(chan struct{}), grace: DefaultOrphanGrace}
}

// inherit watches the pipe that the environment names. None is fine: another
// kind of host has the stream alone.
func (l *lease) inherit(getenv func(string) string) error {
	value := getenv(leaseFDEnv)
	if value == "" {
		return nil
	}
	fd, err := strconv.Atoi(value)
	if err != nil || fd < 3 {
		return &Error{Code: CodeLease, Message: leaseFDEnv + " is not a descriptor: " + value}
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return &Error{Code: CodeLease, Message: leaseFDEnv + " is not a pipe: " + value, Err: err}
	}
	syscall.CloseOnExec(fd)
	// Non-blocking puts it under the poller, so that close ends the read.
	if err := syscall.SetNonblock(fd, true); err != nil {
		return &Error{Code: CodeLease, Message: "lease pipe", Err: err}
	}
	l.hold(os.NewFile(uintptr(fd), "lease"))
	return nil
}

// hold watches pipe until it ends or close is called.
func (l *lease) hold(pipe *os.File) {
	l.mu.Lock()
	l.pipe = pipe
	l.mu.Unlock()
	l.readWG.Go(func() {
		_, err := io.Copy(io.Discard, pipe)
		if !errors.Is(err, os.ErrClosed) {
			l.lose("the lease pipe broke")
		}
	})
}

// open registers a Lease stream; lost says that it ended.
func (l *lease) open(grace time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stream {
		return &Error{Code: CodeLease, Message: "a host holds the lease already"}
	}
	l.stream, l.grace = true, grace
	return nil
}

// held reports whether a live host stands behind us.
func (l *lease) held() bool {
	select {
	case <-l.gone:
		return false
	default:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stream || l.pipe != nil
}

// lose closes gone; only the first reason counts.
func (l *lease) lose(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.gone:
	default:
		l.why = why
		close(l.gone)
	}
}

// terms are how long work may go on without a host, and what broke.
func (l *lease) terms() (grace time.Duration, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.grace, l.why
}

// close releases the pipe and waits for its reader.
func (l *lease) close() {
	l.mu.Lock()
	if l.pipe != nil {
		_ = l.pipe.Close()
	}
	l.mu.Unlock()
	l.readWG.Wait()
}
