package plugin

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Keys of a log line, as hclog writes them and hosts of go-plugin read them.
const (
	keyMessage   = "@message"
	keyLevel     = "@level"
	keyTimestamp = "@timestamp"
	timeLayout   = "2006-01-02T15:04:05.000000Z07:00"
)

// logLevelEnv carries the level that the host's logger has.
const logLevelEnv = "COUNTERSIGN_PLUGIN_LOG_LEVEL"

// newLogHandler writes slog records as JSON lines with hclog's keys. An
// attribute that would pass for one of these keys is renamed: hclog's own
// reader crashes the host where they hold anything but a text.
func newLogHandler(w io.Writer, level slog.Leveler) slog.Handler {
	return slog.NewJSONHandler(w, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) > 0 {
				return a
			}
			switch v := a.Value.Any().(type) {
			case slog.Level:
				if a.Key == slog.LevelKey {
					return slog.String(keyLevel, hclogLevel(v))
				}
			case time.Time:
				if a.Key == slog.TimeKey {
					return slog.String(keyTimestamp, v.Format(timeLayout))
				}
			case string:
				if a.Key == slog.MessageKey {
					return slog.String(keyMessage, v)
				}
			}
			if rest, ok := strings.CutPrefix(a.Key, "@"); ok {
				a.Key = "at_" + rest
			}
			return a
		},
	})
}

func hclogLevel(l slog.Level) string {
	switch {
	case l < slog.LevelDebug:
		return "trace"
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < slog.LevelError:
		return "warn"
	default:
		return "error"
	}
}

// logPump passes lines on to a writer without ever making the writer of a line
// wait. The reader of our stderr is another process: it may be stopped, and a
// full pipe must not stop calls and commits here. Lines that find the queue
// full are counted and dropped. A write error loses the line, no more.
type logPump struct {
	lines chan []byte
	done  chan struct{}

	mu      sync.Mutex
	closed  bool
	dropped int
}

// pumpLines is how many lines may wait.
const pumpLines = 1024

func newLogPump(w io.Writer) *logPump {
	p := &logPump{lines: make(chan []byte, pumpLines), done: make(chan struct{})}
	go p.run(w)
	return p
}

// Write queues one line. It never fails.
func (p *logPump) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return len(line), nil
	}
	select {
	case p.lines <- append([]byte(nil), line...):
	default:
		p.dropped++
	}
	return len(line), nil
}

func (p *logPump) run(w io.Writer) {
	defer close(p.done)
	for line := range p.lines {
		if n := p.takeDropped(); n > 0 {
			_, _ = fmt.Fprintf(w, `{"@level":"warn","@message":"log lines dropped","lines":%d}`+"\n", n)
		}
		_, _ = w.Write(line)
	}
}

func (p *logPump) takeDropped() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.dropped
	p.dropped = 0
	return n
}

// close flushes for at most budget. Lines written later are lost.
func (p *logPump) close(budget time.Duration) {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.lines)
	}
	p.mu.Unlock()
	timer := time.NewTimer(budget)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	}
}
