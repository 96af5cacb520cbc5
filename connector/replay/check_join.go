package replay

import (
	"encoding/json"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// match is what an answer was found to be.
type match struct {
	at       at
	known    bool  // it says which request of the topic it answers
	held     *held // that; nil: it is not held
	whole    bool  // nothing more is waited for
	stranger bool  // it is of another group
}

// matched takes an answer into the findings about its request, if that is held. What
// comes later than Ahead is not looked at, whatever else is held.
func (c *check) matched(rec *kafka.Record) match {
	if rec.Topic == c.cfg.DeadLetters {
		return c.letter(rec)
	}
	return c.result(rec)
}

func (c *check) match(rec *kafka.Record, to schemas.Coordinates) match {
	m := match{at: at{to.Partition, to.Offset}, known: to.Topic == c.cfg.Requests}
	if !m.known {
		return m
	}
	if m.held = c.held[m.at]; m.held != nil && rec.Timestamp.After(m.held.today.timestamp.Add(c.cfg.Ahead)) {
		m.held, m.known = nil, false
	}
	return m
}

// letter takes a dead letter in.
func (c *check) letter(rec *kafka.Record) match {
	d, _, err := schemas.DecodeDeadLetter(rec.Headers)
	if err != nil {
		return match{} // it is an audit's to find
	}
	m := c.match(rec, d.Coordinates)
	if m.held != nil {
		m.whole = !d.HasResult
		f := &m.held.findings
		f.letters = append(f.letters, letter{
			at: spotOf(rec), class: d.Class, hasResult: d.HasResult, redrivable: d.Redrivable, standIn: !d.Redrivable && isHash(rec.Value),
		})
	}
	return m
}

// result takes a result in.
func (c *check) result(rec *kafka.Record) match {
	r, _, err := schemas.DecodeResult(rec.Value)
	if err != nil {
		return c.unreadable(rec)
	}
	m := c.match(rec, r.Request)
	if !m.known {
		return m
	}
	if _, made := r.MadeBy(c.cfg.Group); !made {
		m.stranger = true
		if m.held != nil {
			m.held.findings.stranger = true
		}
		return m
	}
	if m.held == nil {
		return m
	}
	f := &m.held.findings
	if !f.answered {
		f.answered, f.result, f.recorded = true, spotOf(rec), toldBy(r.Outcome, r.Error)
	}
	if again, err := r.Encode(); err != nil || !sameJSON(again, rec.Value) {
		f.differ(WhatForm)
	}
	c.judge(m.held, r)
	// A page that was refused does not say whether it was the last: nothing more of its
	// list is waited for.
	m.whole = r.Page == nil || r.Page.Last
	return m
}

// unreadable takes in a record that says which request it answers, with that.
func (c *check) unreadable(rec *kafka.Record) match {
	var told struct {
		Request struct {
			Topic     string `json:"topic"`
			Partition int    `json:"partition"`
			Offset    int64  `json:"offset"`
		} `json:"request"`
	}
	if json.Unmarshal(rec.Value, &told) != nil {
		return match{}
	}
	m := c.match(rec, schemas.Coordinates{Topic: told.Request.Topic, Partition: told.Request.Partition, Offset: told.Request.Offset})
	if m.held != nil {
		m.held.findings.unreadable++
	}
	return m
}

// unread reports whether a request of the window was not read yet.
func (c *check) unread(place at) bool {
	for _, s := range c.requests.sources {
		if s.partition == place.partition {
			return place.offset >= s.at() && place.offset < s.end
		}
	}
	return false
}

// early are answers to requests that were not read yet.
type early struct {
	records  map[at][]kafka.Record
	n, bytes int
	// strangers has a bit for each request that another group has answered, by the
	// place of the first of so many. With the wrong group that is each one.
	strangers map[at]*[strangersOf / 64]uint64
}

const (
	maxEarlyBytes = 48 << 20
	strangersOf   = 4096
	maxStrangers  = 64 << 10 // of those sets; what is beyond is not counted
)

// inStrangers is in which set a request is, in which word of it and as which bit.
func inStrangers(place at) (set at, word, bit int64) {
	i := place.offset % strangersOf
	return at{place.partition, place.offset - i}, i / 64, i % 64
}

func (e *early) full(most int) bool { return e.n >= most || e.bytes >= maxEarlyBytes }

// keep holds an answer back. Of a letter only what is compared is kept, and of another
// group's result only that it is there.
func (e *early) keep(m match, rec *kafka.Record) {
	if m.stranger {
		set, word, bit := inStrangers(m.at)
		if e.strangers[set] == nil && len(e.strangers) < maxStrangers {
			e.strangers[set] = new([strangersOf / 64]uint64)
		}
		if bits := e.strangers[set]; bits != nil {
			bits[word] |= 1 << bit
		}
		return
	}
	kept := kafka.Record{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Timestamp: rec.Timestamp}
	if _, _, err := schemas.DecodeDeadLetter(rec.Headers); err == nil {
		for _, h := range rec.Headers {
			kept.Headers = append(kept.Headers, schemas.Header{Key: h.Key, Value: append([]byte(nil), h.Value...)})
		}
	}
	// The page's memory goes with it.
	if len(kept.Headers) == 0 || isHash(rec.Value) {
		kept.Value = append([]byte(nil), rec.Value...)
	}
	e.records[m.at] = append(e.records[m.at], kept)
	e.n++
	e.bytes += sizeOf(&kept)
}

// claim gives out what is kept for a request.
func (e *early) claim(place at) (records []kafka.Record, stranger bool) {
	records = e.records[place]
	for i := range records {
		e.n--
		e.bytes -= sizeOf(&records[i])
	}
	delete(e.records, place)
	set, word, bit := inStrangers(place)
	if bits := e.strangers[set]; bits != nil {
		stranger = bits[word]&(1<<bit) != 0
		if place.offset == set.offset+strangersOf-1 {
			delete(e.strangers, set)
		}
	}
	return records, stranger
}

// purge drops what is kept for requests that were passed by, as there is no record at
// their offsets.
func (e *early) purge(unread func(at) bool) {
	for place := range e.records {
		if !unread(place) {
			e.claim(place)
		}
	}
}

func sizeOf(rec *kafka.Record) int {
	n := 200 + len(rec.Value)
	for _, h := range rec.Headers {
		n += 40 + len(h.Key) + len(h.Value)
	}
	return n
}

// settling are requests that are answered, the one first that is counted first.
type settling []*held

func (s settling) Len() int           { return len(s) }
func (s settling) Less(i, j int) bool { return s[i].due < s[j].due }
func (s settling) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

// Push implements heap.Interface.
func (s *settling) Push(h any) { *s = append(*s, h.(*held)) }

// Pop implements heap.Interface.
func (s *settling) Pop() any {
	all := *s
	n := len(all) - 1
	h := all[n]
	all[n], *s = nil, all[:n]
	return h
}
