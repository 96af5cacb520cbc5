package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progressEvery is how often a line is written where there is no terminal.
const progressEvery = 5 * time.Second

// progressLine shows how far a command is: on a terminal as one line that renews
// itself, elsewhere as a line every few seconds.
type progressLine struct {
	out      io.Writer
	terminal bool
	begun    bool
	shown    time.Time // when a line was written last
}

func newProgressLine(out io.Writer) progressLine {
	return progressLine{out: out, terminal: isTerminal(out)}
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// show takes the next state. News are shown at once, wherever. What can't be shown
// is no reason to stop.
func (p *progressLine) show(text string, news bool) {
	switch {
	case p.terminal:
		p.begun = true
		_, _ = fmt.Fprintf(p.out, "\r\x1b[K%s", text)
	case news || p.shown.IsZero() || time.Since(p.shown) >= progressEvery:
		p.shown = time.Now()
		_, _ = fmt.Fprintln(p.out, text)
	}
}

// end leaves the line that renews itself.
func (p *progressLine) end() {
	if p.begun {
		_, _ = fmt.Fprintln(p.out)
	}
}

// meter is a progressLine with a bar, the rate and the time left.
type meter struct {
	progressLine
	what    string // what is counted, in the plural
	now     func() time.Time
	points  []meterPoint // of the last meterSpan, one a tenth of it at most
	waiting bool
	done    int64
}

type meterPoint struct {
	at   time.Time
	done int64
}

const (
	meterSpan  = 20 * time.Second
	meterWidth = 24
)

func newMeter(out io.Writer, what string) *meter {
	return &meter{progressLine: newProgressLine(out), what: what, now: time.Now}
}

// turn counts something else from now on, from zero; nothing where it does already.
func (m *meter) turn(what string) {
	if m.what == what {
		return
	}
	m.end()
	m.what, m.points, m.done, m.begun, m.shown = what, nil, 0, false, time.Time{}
}

// update takes the next state: so many of so many, and why nothing goes on, if so.
func (m *meter) update(done, total int64, waiting error) {
	arrived := done == total && m.done < done
	m.done = done
	if waiting != nil {
		news := !m.waiting
		m.waiting, m.points = true, nil
		m.show(fmt.Sprintf("%d of %d %s, waiting: %v", done, total, m.what, waiting), news)
		return
	}
	resumed := m.waiting
	m.waiting = false
	m.show(m.text(done, total), resumed || arrived)
}

func (m *meter) text(done, total int64) string {
	var b strings.Builder
	if m.terminal && total > 0 {
		full := int(meterWidth * done / total)
		fmt.Fprintf(&b, "[%s%s] ", strings.Repeat("#", full), strings.Repeat("-", meterWidth-full))
	}
	fmt.Fprintf(&b, "%d of %d %s", done, total, m.what)
	if total > 0 {
		fmt.Fprintf(&b, ", %d %%", 100*done/total)
	}
	if rate := m.rate(done); rate > 0 {
		fmt.Fprintf(&b, ", %s a second", shortNumber(rate))
		if left := time.Duration(float64(total-done) / rate * float64(time.Second)); left > 0 {
			fmt.Fprintf(&b, ", about %s left", max(left.Round(time.Second), time.Second))
		}
	}
	return b.String()
}

// rate is that of the last meterSpan; zero where there is none yet.
func (m *meter) rate(done int64) float64 {
	now := m.now()
	if n := len(m.points); n == 0 || now.Sub(m.points[n-1].at) >= meterSpan/10 {
		m.points = append(m.points, meterPoint{now, done})
	}
	for len(m.points) > 2 && now.Sub(m.points[1].at) >= meterSpan {
		m.points = m.points[1:]
	}
	first := m.points[0]
	took := now.Sub(first.at).Seconds()
	if took < 1 || done <= first.done {
		return 0
	}
	return float64(done-first.done) / took
}

func shortNumber(n float64) string {
	if n < 10 {
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.0f", n)
}
