package phones

import (
	"slices"
	"time"

	"github.com/countersign/countersign/internal/device"
)

// stateView is what the page gets: all that it shows, and no more.
type stateView struct {
	Start  string      `json:"start"`
	Now    time.Time   `json:"now"`
	Send   bool        `json:"send"` // there are topics: to send to, and to see requests and results in
	Phones []phoneView `json:"phones"`
	Flows  []flowView  `json:"flows"` // newest first
}

type phoneView struct {
	Identity  string          `json:"identity"`
	FactorSID string          `json:"factor_sid"`
	Command   string          `json:"command"`
	Away      bool            `json:"away"`
	Older     int             `json:"older"`
	Open      []challengeView `json:"open"` // newest first
	Past      []pastView      `json:"past"` // newest first
}

type challengeView struct {
	SID     string         `json:"sid"`
	Message string         `json:"message"`
	Fields  []device.Field `json:"fields"`
	Made    time.Time      `json:"made"`
	Expires time.Time      `json:"expires"`
}

type pastView struct {
	SID     string    `json:"sid"`
	Message string    `json:"message"`
	Status  string    `json:"status"`
	Ended   time.Time `json:"ended"`
}

type flowView struct {
	ID       uint64     `json:"id"`
	Identity string     `json:"identity"`
	Message  string     `json:"message"`
	Steps    []stepView `json:"steps"`
}

type stepView struct {
	Kind string    `json:"kind"`
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

// snapshot is the state now, and what is closed at the next change.
func (p *Page) snapshot() (stateView, <-chan struct{}) {
	b := p.book
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	s := stateView{
		Start: p.start, Now: now, Send: p.cfg.Send != nil,
		Phones: make([]phoneView, 0, len(b.phones)), Flows: make([]flowView, 0, len(b.flows)),
	}
	for _, ph := range b.phones {
		s.Phones = append(s.Phones, ph.view())
	}
	for _, f := range slices.Backward(b.flows) {
		v := flowView{ID: f.seq, Identity: f.identity, Message: f.message, Steps: make([]stepView, 0, len(f.steps))}
		for _, st := range f.steps {
			v.Steps = append(v.Steps, stepView{Kind: st.kind, Text: st.text, At: st.at})
		}
		s.Flows = append(s.Flows, v)
	}
	return s, b.changed
}

func (ph *phone) view() phoneView {
	v := phoneView{
		Identity: ph.Identity, FactorSID: ph.factor, Command: ph.Command, Away: ph.away, Older: ph.older,
		Open: []challengeView{}, Past: []pastView{},
	}
	for _, c := range slices.Backward(ph.open) {
		if c.shown {
			v.Open = append(v.Open, challengeView{SID: c.sid, Message: c.message, Fields: c.fields, Made: c.made, Expires: c.expires})
		}
	}
	for _, c := range ph.past {
		v.Past = append(v.Past, pastView{SID: c.sid, Message: c.message, Status: c.status, Ended: c.ended})
	}
	return v
}
