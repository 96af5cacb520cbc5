package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// lineView writes plain lines: notes as they come, and the progress once a
// second, or less often while nothing moves.
type lineView struct {
	out  io.Writer
	last time.Duration // of the last line
	text string        // of the last line, without its time
}

const (
	linePause = time.Second
	idlePause = 5 * time.Second
)

func (v *lineView) show(notes []string, p *progress, last bool) {
	var b strings.Builder
	for _, n := range notes {
		fmt.Fprintf(&b, "%s\n", n)
	}
	if p != nil && (v.text == "" || last || p.Elapsed-v.last >= linePause) {
		if text := progressLine(p); text != v.text || p.Elapsed-v.last >= idlePause {
			fmt.Fprintf(&b, "%6s  %s\n", seconds(p.Elapsed), text)
			v.last, v.text = p.Elapsed, text
		}
	}
	if b.Len() > 0 {
		writeOut(v.out, b.String())
	}
}

// progressLine says everything that moves in one line.
func progressLine(p *progress) string {
	return fmt.Sprintf("%s: sent %d/%d answered %d | %s | dead letters %d | calls %d creates %d in flight %d | breaker %s retries %d | p50 %s p99 %s",
		p.Phase, p.Sent, p.Total, p.Answered, counts(p.Outcomes), p.Letters, p.Calls, p.Creates, p.InFlight,
		breakerOf(p.Status), p.Status.Counters.Retries, milliseconds(p.Status.Latency.P50), milliseconds(p.Status.Latency.P99))
}
