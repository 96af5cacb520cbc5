package demo

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/connector"
)

// progress is what a view shows, at one moment.
type progress struct {
	Elapsed  time.Duration
	Phase    string // what the demo is doing
	Seed     uint64
	Total    int // requests of the stream
	Sent     int
	Answered int   // requests with a result or dead letter
	Answers  []int // the same by partition of the requests
	Outcomes map[string]int
	Letters  int

	Calls                     int // seen by the API
	Creates                   int // made by the API
	InFlight                  int // at the API
	Approved, Denied, Ignored int64

	Status   connector.Status // of the plugin
	PID      int
	Restarts int
}

// view shows progress to a person. show is called by one goroutine.
type view interface {
	// show shows notes, which are new and stay, and p. Nil: there is none yet.
	// last says that nothing follows.
	show(notes []string, p *progress, last bool)
}

// screen drives a view: some times a second, and a last time at its end.
type screen struct {
	view   view
	source func() *progress

	mu    sync.Mutex
	notes []string

	quit chan struct{}
	done chan struct{}
}

const frame = 125 * time.Millisecond

// newScreen starts showing what source returns; nil is nothing yet.
func newScreen(v view, source func() *progress) *screen {
	s := &screen{view: v, source: source, quit: make(chan struct{}), done: make(chan struct{})}
	go s.run()
	return s
}

func (s *screen) run() {
	defer close(s.done)
	tick := time.NewTicker(frame)
	defer tick.Stop()
	for {
		select {
		case <-s.quit:
			s.refresh(true)
			return
		case <-tick.C:
			s.refresh(false)
		}
	}
}

func (s *screen) refresh(last bool) {
	s.mu.Lock()
	notes := s.notes
	s.notes = nil
	s.mu.Unlock()
	s.view.show(notes, s.source(), last)
}

// close shows the last state and returns once nothing is written any more.
func (s *screen) close() {
	close(s.quit)
	<-s.done
}

// note shows one line for good.
func (s *screen) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// logger makes notes of what the host and the plugin warn of.
func (s *screen) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(noteWriter{s}, &slog.HandlerOptions{
		Level: slog.LevelWarn,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			switch a.Key {
			case slog.TimeKey, "plugin_pid", "generation": // of which there is one
				return slog.Attr{}
			}
			return a
		},
	}))
}

type noteWriter struct{ screen *screen }

func (w noteWriter) Write(p []byte) (int, error) {
	w.screen.note("%s", strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// newView is a table where o writes to a terminal, else lines.
func newView(o Options) view {
	if o.Width != nil {
		return &tableView{out: o.Out, width: o.Width}
	}
	return &lineView{out: o.Out}
}

// outcomeOrder is the order in which outcomes are shown.
func outcomeOrder() []string {
	return []string{"succeeded", "adopted", "duplicate", "rejected", "expired", "failed"}
}

// counts writes the counters of an outcome map that are not zero.
func counts(m map[string]int) string {
	var parts []string
	for _, name := range outcomeOrder() {
		if m[name] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", name, m[name]))
		}
	}
	if len(parts) == 0 {
		return "none yet"
	}
	return strings.Join(parts, "  ")
}

// breakerOf is the state of the one account's breaker.
func breakerOf(st connector.Status) string {
	for _, a := range st.Accounts {
		return a.Breaker
	}
	return "unknown"
}

func milliseconds(seconds float64) string { return fmt.Sprintf("%.0fms", seconds*1000) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

// writeOut ignores errors: who does not want to see the progress has gone.
func writeOut(w io.Writer, text string) { _, _ = io.WriteString(w, text) }
