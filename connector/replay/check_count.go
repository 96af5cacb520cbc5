package replay

import (
	"cmp"
	"slices"
	"time"

	"github.com/countersign/countersign/schemas"
)

// one takes a request into the report, once all its answers are in.
func (c *check) one(h *held) {
	f := &h.findings
	c.report.Requests++
	c.report.Unreadable += int64(f.unreadable)
	f.beside()
	if !f.answered {
		for _, l := range f.letters {
			if !l.hasResult {
				c.bareLetter(h, l)
				break
			}
		}
	}
	switch {
	case f.what != 0:
		c.report.Differs++
		c.list(h)
	case !f.answered:
		c.report.Unanswered++
		if f.stranger {
			c.report.AnotherGroup++
		}
	case f.reason != "":
		c.report.NotReplayable++
		c.report.Reasons[f.reason]++
	default:
		c.report.Same++
	}
}

// bareLetter judges a request that only a dead letter tells of.
func (c *check) bareLetter(h *held, l letter) {
	f := &h.findings
	f.answered, f.result, f.recorded = true, l.at, Told{Class: l.class}
	if h.today.ending == nil {
		if l.class == schemas.ClassTooLarge {
			f.reason = ReasonTooLarge // its result was
			return
		}
		f.differ(WhatDecode)
		return
	}
	f.today = toldBy(h.today.ending.Outcome, h.today.ending.Error)
	if f.today.Outcome != "" {
		f.differ(WhatOutcome)
	}
	if f.today.Class != l.class {
		f.differ(WhatClass)
	}
	if !l.agrees(h.today.ending.Redrivable) {
		f.differ(WhatRedrivable)
	}
}

// listed is a difference with what it is listed by.
type listed struct {
	stamp time.Time
	at    at
	Difference
}

// list takes a difference down. They don't come in the order in which they are listed.
func (c *check) list(h *held) {
	f := &h.findings
	d := Difference{
		Request: spot{c.cfg.Requests, h.partition, h.offset}.String(), Result: f.result.String(),
		RequestID: h.today.id, Operation: h.today.operation, Recorded: f.recorded, Today: f.today,
	}
	for _, w := range Whats() {
		if f.what&bit(w) != 0 {
			c.report.What[w]++
			d.What = append(d.What, w)
		}
	}
	c.listed = append(c.listed, listed{h.today.timestamp, h.at, d})
	if len(c.listed) >= 2*c.cfg.MaxListed {
		c.sortListed()
	}
}

// sortListed leaves only those that are listed.
func (c *check) sortListed() {
	slices.SortFunc(c.listed, func(a, b listed) int {
		return cmp.Or(a.stamp.Compare(b.stamp), cmp.Compare(a.at.partition, b.at.partition), cmp.Compare(a.at.offset, b.at.offset))
	})
	n := min(len(c.listed), c.cfg.MaxListed)
	clear(c.listed[n:])
	c.listed = c.listed[:n]
}

func (c *check) firstListed() []Difference {
	c.sortListed()
	all := make([]Difference, 0, len(c.listed))
	for _, l := range c.listed {
		all = append(all, l.Difference)
	}
	return all
}
