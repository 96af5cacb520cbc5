package plugin_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// records is a slog handler that hands over what a host logs.
type records chan slog.Record

func (r records) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (r records) Handle(_ context.Context, rec slog.Record) error {
	r <- rec
	return nil
}
func (r records) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r records) WithGroup(string) slog.Handler      { return r }

// next skips to a record that says text, as its message or as a raw line.
func (r records) next(t *testing.T, text string) (slog.Record, map[string]string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case rec := <-r:
			attrs := map[string]string{}
			rec.Attrs(func(a slog.Attr) bool {
				attrs[a.Key] = a.Value.String()
				return true
			})
			if strings.HasPrefix(rec.Message, text) || strings.HasPrefix(attrs["line"], text) {
				return rec, attrs
			}
		case <-deadline:
			t.Fatalf("nothing said %q", text)
		}
	}
}

// Whatever a plugin prints reaches the host's log and harms nobody.
func TestOutputOfAPlugin(t *testing.T) {
	o := newObserver(t)
	spec := o.spec()
	logs := make(records, 4096)
	spec.Logger = slog.New(logs)
	h := host(t, spec)
	p := o.next()
	p.wait("call:Start")

	p.do("log", message{Text: "structured", N: 5})
	rec, attrs := logs.next(t, "structured")
	if rec.Level != slog.LevelInfo || attrs["n"] != "5" || attrs["at_message"] != "1" {
		t.Errorf("%v %v", rec, attrs)
	}
	// go-plugin's own reader panics on this one.
	p.do("raw", message{Text: `{"@message":1}` + "\n"})
	logs.next(t, `{"@message":1}`)
	p.do("raw", message{Text: "\x00\xff\xfe[]{{\"\n"})
	p.do("raw", message{Text: strings.Repeat("y", 300<<10) + "\n"})
	if _, attrs := logs.next(t, "yyy"); len(attrs["line"]) != 64<<10 || attrs["bytes_cut"] == "" {
		t.Errorf("kept %d bytes, cut %s", len(attrs["line"]), attrs["bytes_cut"])
	}
	p.do("print", message{Text: "from a library"})
	streams := map[string]bool{}
	for range 2 {
		_, attrs := logs.next(t, "from a library")
		streams[attrs["stream"]] = true
	}
	if !streams["stdout"] || !streams["stderr"] {
		t.Errorf("printed to %v", streams)
	}

	h.cancel()
	if err := h.end(); err != nil {
		t.Error(err)
	}
	if h.Restarts() != 0 {
		t.Error("the plugin was replaced")
	}
}

// A grandchild that keeps the pipes open hides neither the crash of the plugin
// nor blocks its successor.
func TestGrandchildHoldsThePipes(t *testing.T) {
	o := newObserver(t)
	h := host(t, o.spec())
	p := o.next()
	p.wait("call:Start")
	p.send("grandchild", message{})
	grandchild := o.next()
	p.wait("done:grandchild")
	p.send("crash", message{})
	p.gone()
	next := o.next()
	next.wait("call:Start")
	_ = grandchild.conn.Close()
	h.cancel()
	if err := h.end(); err != nil {
		t.Error(err)
	}
	o.noSocketLeft()
}
