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

func (v *tableView) show(notes []string, p *progress, _ bool) {
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
	lines = append(lines, row("partition", p.Answers, func(i, _ int) int64 { return int64(i) }))
	lines = append(lines, row("  answered", p.Answers, func(_, n int) int64 { return int64(n) }))
	return append(lines, lanes(st)...)
}

// row is one line of numbers, one for each cell.
func row[T any](name string, cells []T, number func(int, T) int64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %-12s", name)
	for i, c := range cells {
		fmt.Fprintf(&b, "%9d", number(i, c))
	}
	return b.String()
}

// lanes shows where the plugin stands in each partition, and who holds one
// back. Nothing while it owns none.
func lanes(st connector.Status) []string {
	if len(st.Lanes) == 0 {
		return nil
	}
	type lane = connector.LaneStatus
	out := []string{
		row("  end", st.Lanes, func(_ int, l lane) int64 { return l.End }),
		row("  committed", st.Lanes, func(_ int, l lane) int64 { return max(0, l.Committed) }),
		row("  in flight", st.Lanes, func(_ int, l lane) int64 { return int64(l.InFlight) }),
		row("  waiting", st.Lanes, func(_ int, l lane) int64 { return int64(l.Waiting) }),
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
