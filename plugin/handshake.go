package plugin

import (
	"bytes"
	"strconv"
	"strings"
	"sync"
)

// handshakeReader gives go-plugin the first line that the child wrote to
// stdout, and keeps it, because go-plugin's errors don't say by type what was
// wrong with it. It is safe for concurrent use.
type handshakeReader struct {
	ready chan struct{} // closed when line is there
	once  sync.Once
	line  []byte
	rest  bytes.Reader // touched by Read alone
	begun bool
}

func newHandshakeReader() *handshakeReader {
	return &handshakeReader{ready: make(chan struct{})}
}

// set publishes a copy of the line; only the first call counts.
func (h *handshakeReader) set(line []byte) {
	h.once.Do(func() {
		h.line = bytes.Clone(line)
		close(h.ready)
	})
}

// Read blocks until there is a line, then yields it and the end.
func (h *handshakeReader) Read(p []byte) (int, error) {
	<-h.ready
	if !h.begun {
		h.begun = true
		h.rest.Reset(h.line)
	}
	return h.rest.Read(p)
}

// Close does nothing: the file behind it is not ours.
func (h *handshakeReader) Close() error { return nil }

// protocol returns the protocol version that the child announced. ok is false
// where it announced none: then it is no plugin, or not a Go one of our time.
func (h *handshakeReader) protocol() (version int, ok bool) {
	select {
	case <-h.ready:
	default:
		return 0, false
	}
	parts := strings.Split(strings.TrimSpace(string(h.line)), "|")
	if len(parts) < 5 {
		return 0, false
	}
	version, err := strconv.Atoi(parts[1])
	return version, err == nil
}
