package plugin

import (
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// inherited gives a lease the reading end of a pipe, as a host does.
func inherited(t *testing.T, l *lease) (host *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(r.Fd())) // the lease closes its own
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	if err := l.inherit(func(key string) string {
		if key != leaseFDEnv {
			t.Errorf("asked for %s", key)
		}
		return strconv.Itoa(fd)
	}); err != nil {
		t.Fatal(err)
	}
	return w
}

// The pipe alone is enough to notice the host's end.
func TestLeasePipe(t *testing.T) {
	l := newLease()
	if l.held() {
		t.Error("held by nobody")
	}
	host := inherited(t, l)
	defer l.close()
	if !l.held() {
		t.Error("not held")
	}
	if _, err := host.WriteString("not a word of the protocol"); err != nil {
		t.Fatal(err)
	}
	_ = host.Close()
	within(t, l.gone, "the loss of the lease")
	if grace, why := l.terms(); grace != DefaultOrphanGrace || why == "" || l.held() {
		t.Errorf("grace %v, why %q, held %v", grace, why, l.held())
	}
	l.lose("again") // the first reason stays
	if _, why := l.terms(); why == "again" {
		t.Error("the reason changed")
	}
}

// Closing it ourselves loses nothing.
func TestLeaseClose(t *testing.T) {
	l := newLease()
	host := inherited(t, l)
	defer func() { _ = host.Close() }()
	if err := l.open(time.Second); err != nil {
		t.Fatal(err)
	}
	l.close()
	if !l.held() {
		t.Error("lost by closing")
	}
}

func TestLeaseWithoutPipe(t *testing.T) {
	file, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for value, code := range map[string]Code{
		"":                           "",
		"three":                      CodeLease,
		"1":                          CodeLease, // that is stdout
		"1000000":                    CodeLease,
		strconv.Itoa(int(file.Fd())): CodeLease, // no pipe
	} {
		isCode(t, newLease().inherit(func(string) string { return value }), code)
	}
}
