package plugin

import (
	"io"
	"strings"
	"testing"
)

func TestHandshakeReader(t *testing.T) {
	for line, want := range map[string]struct {
		version int
		ok      bool
	}{
		"1|1|unix|/tmp/x|grpc|cert\n": {1, true},
		"1|9|unix|/tmp/x|grpc\n":      {9, true},
		"1|x|unix|/tmp/x|grpc\n":      {0, false},
		"1|2|3\n":                     {0, false},
		"Welcome\n":                   {0, false},
		"":                            {0, false},
	} {
		h := newHandshakeReader()
		if _, ok := h.protocol(); ok {
			t.Error("a version before there is a line")
		}
		h.set([]byte(line))
		h.set([]byte("1|5|a|b|c")) // too late
		if v, ok := h.protocol(); v != want.version || ok != want.ok {
			t.Errorf("%q: %d, %v", line, v, ok)
		}
		if got, err := io.ReadAll(h); err != nil || string(got) != line {
			t.Errorf("read %q, %v", got, err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Reading waits for the line and does not spin.
func TestHandshakeReaderWaits(t *testing.T) {
	h := newHandshakeReader()
	read := make(chan string)
	go func() {
		b, _ := io.ReadAll(h)
		read <- string(b)
	}()
	h.set([]byte("line"))
	if got := within(t, read, "the read"); !strings.HasPrefix(got, "line") {
		t.Errorf("%q", got)
	}
}
