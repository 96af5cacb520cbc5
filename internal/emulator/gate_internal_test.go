package emulator

import (
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"
)

func dial(t *testing.T, g *gate) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Connections that the kernel has completed, with a request in them already,
// are accepted and answered although shutting began before anybody looked.
func TestShutGentlyAcceptsWhatIsQueued(t *testing.T) {
	g, err := openGate(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	var callers []net.Conn
	for range 16 {
		conn := dial(t, g)
		if _, err := conn.Write([]byte("?")); err != nil {
			t.Fatal(err)
		}
		callers = append(callers, conn)
	}
	shut := make(chan struct{})
	go func() {
		g.shut(true)
		close(shut)
	}()
	for begun := false; !begun; runtime.Gosched() { // nobody accepts before shutting has begun
		g.mu.Lock()
		begun = g.drain
		g.mu.Unlock()
	}
	served := make(chan error)
	go func() {
		for {
			conn, err := g.Accept()
			if err != nil {
				served <- err
				return
			}
			_, _ = io.CopyN(conn, conn, 1)
			_ = conn.Close()
		}
	}()
	for i, conn := range callers {
		if got, err := io.ReadAll(conn); err != nil || string(got) != "?" {
			t.Errorf("caller %d: %q, %v", i, got, err)
		}
	}
	<-shut
	if conn, err := net.Dial("tcp", g.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v, %v: want a refusal", conn, err)
	}
	g.shut(true) // while shut: nothing
	g.open()
	g.open()
	conn := dial(t, g)
	if _, err := conn.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "?" {
		t.Errorf("after opening: %q, %v", got, err)
	}
	_ = g.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept ends with %v", err)
	}
	g.open() // closed for good
	if _, err := net.Dial("tcp", g.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after Close: %v", err)
	}
}

func TestShutHardResetsWhatIsQueued(t *testing.T) {
	g, err := openGate(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, g)
	g.shut(false)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v", err)
	}
	_ = g.Close()
}

// A port that somebody else holds for a moment is waited for.
func TestOpenWaitsForItsPort(t *testing.T) {
	g, err := openGate(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.shut(false)
	other, err := net.Listen("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan struct{})
	go func() {
		g.open()
		close(opened)
	}()
	select {
	case <-opened:
		t.Error("open while the port is held")
	case <-time.After(20 * time.Millisecond):
	}
	_ = other.Close()
	<-opened
	dial(t, g)
	_ = g.Close()
	g.open() // closed: returns at once
}
