package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/countersign/countersign/connector/redrive"
)

// progressEvery is how often a line is written where there is no terminal.
const progressEvery = 5 * time.Second

// progress shows how far a redrive is: on a terminal as one line that renews
// itself, elsewhere as a line every few seconds.
type progress struct {
	out      io.Writer
	terminal bool
	begun    bool
	shown    time.Time // when a line was written last
	last     redrive.Progress
}

func newProgress(out io.Writer) *progress { return &progress{out: out, terminal: isTerminal(out)} }

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// update takes the next state. What can't be shown is no reason to stop.
func (p *progress) update(at redrive.Progress) {
	p.last = at
	text := fmt.Sprintf("%d of %d redriven or parked", at.Done, at.Planned)
	switch {
	case p.terminal:
		p.begun = true
		_, _ = fmt.Fprintf(p.out, "\r\x1b[K%s", text)
	case p.shown.IsZero() || time.Since(p.shown) >= progressEvery:
		p.shown = time.Now()
		_, _ = fmt.Fprintln(p.out, text)
	}
}

// end leaves the line that renews itself.
func (p *progress) end() {
	if p.begun {
		_, _ = fmt.Fprintln(p.out)
	}
}
