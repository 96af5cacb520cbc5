package main

import (
	"fmt"
	"io"

	"github.com/countersign/countersign/connector/redrive"
)

// progress shows how far a redrive is.
type progress struct {
	progressLine
	last redrive.Progress
}

func newProgress(out io.Writer) *progress { return &progress{progressLine: newProgressLine(out)} }

// update takes the next state.
func (p *progress) update(at redrive.Progress) {
	p.last = at
	p.show(fmt.Sprintf("%d of %d redriven or parked", at.Done, at.Planned), false)
}
