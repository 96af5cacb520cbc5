package demo

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/countersign/countersign/connector"
)

// tableView redraws a table in place, on a terminal that knows the control
// sequences of ECMA-48. Notes scroll away above it.
type tableView struct {
	out   io.Writer
	width func() int
	drawn int // lines of the table that stand on the screen
}

// Control sequences: so many lines up, erase the rest of the line, of the screen.
const (
	cursorUp    = "\x1b[%dA\r"
	eraseLine   = "\x1b[K"
	eraseScreen = "\x1b[J"
)

func (v *tableView) show(notes []string, p *progress) {
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, cursorUp, v.drawn)
	}
	for _, n := range notes {
		b.WriteString(n + eraseLine + "\n")
	}
	v.drawn = 0
	if p != nil {
		// One column stays free: a full one would wrap, and the next frame
		// would begin a line too low.
		most := max(20, v.width()-1)
		for _, line := range table(p) {
			b.WriteString(cut(line, most) + eraseLine + "\n")
			v.drawn++
		}
	}
	b.WriteString(eraseScreen)
	writeOut(v.out, b.String())
}

// table is the whole state in lines of about 78 columns.
func table(p *progress) []string {
	st := p.Status
	lines := []string{
		"",
		fmt.Sprintf("Countersign demo   seed %d   %s   %s", p.Seed, seconds(p.Elapsed), p.Phase),
		fmt.Sprintf("  requests     %s %d of %d sent, %d answered", bar(p.Answered, p.Total, 20), p.Sent, p.Total, p.Answered),
		fmt.Sprintf("  results      %s", counts(p.Outcomes)),
		fmt.Sprintf("  dead letters %d", p.Letters),
		fmt.Sprintf("  API          %d calls, %d challenges made, %d in flight, p50 %s, p99 %s",
			p.Calls, p.Creates, p.InFlight, milliseconds(st.Latency.P50), milliseconds(st.Latency.P99)),
		fmt.Sprintf("  breaker      %s, opened %d times; %d retries%s",
			breakerOf(st), st.Counters.BreakerOpens, st.Counters.Retries, penaltyOf(st)),
		fmt.Sprintf("  phones       %d approved, %d denied, %d ignored", p.Approved, p.Denied, p.Ignored),
		fmt.Sprintf("  plugin       process %d, %s, %d restarts", p.PID, st.State, p.Restarts),
	}
	return append(lines, lanes(st)...)
}

// lanes shows where each partition stands, and who holds one back.
func lanes(st connector.Status) []string {
	if len(st.Lanes) == 0 {
		return []string{"  partitions   none assigned"}
	}
	row := func(name string, cell func(connector.LaneStatus) string) string {
		var b strings.Builder
		fmt.Fprintf(&b, "  %-12s", name)
		for _, l := range st.Lanes {
			fmt.Fprintf(&b, "%9s", cell(l))
		}
		return b.String()
	}
	number := func(n int64) string { return fmt.Sprintf("%d", n) }
	out := []string{
		row("partition", func(l connector.LaneStatus) string { return number(int64(l.Partition)) }),
		row("  end", func(l connector.LaneStatus) string { return number(l.End) }),
		row("  committed", func(l connector.LaneStatus) string { return number(max(0, l.Committed)) }),
		row("  in flight", func(l connector.LaneStatus) string { return number(int64(l.InFlight)) }),
		row("  waiting", func(l connector.LaneStatus) string { return number(int64(l.Waiting)) }),
	}
	for _, l := range st.Lanes {
		if l.Stuck != nil {
			return append(out, fmt.Sprintf("  held back    partition %d at %d, waiting for %s", l.Partition, l.Stuck.Offset, l.Stuck.Why))
		}
	}
	return append(out, "  held back    nothing")
}

func penaltyOf(st connector.Status) string {
	for _, a := range st.Accounts {
		if a.Penalty != "" {
			return ", paused for " + a.Penalty + " by the API"
		}
	}
	return ""
}

// bar is done of total as a bar.
func bar(done, total, width int) string {
	full := 0
	if total > 0 {
		full = min(width, done*width/total)
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}

// cut shortens a line to so many characters.
func cut(line string, most int) string {
	if utf8.RuneCountInString(line) <= most {
		return line
	}
	return string([]rune(line)[:most])
}
