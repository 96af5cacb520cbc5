package phones

import (
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

// What a page keeps at most.
const (
	maxOpen  = 50  // open challenges of a phone; the oldest are left out first
	maxPast  = 8   // past challenges of a phone
	maxFlows = 100 // requests in the flow
)

// What becomes of a challenge, beside what a device can answer.
const (
	statusPending = "pending"
	statusExpired = "expired"
	statusGone    = "gone" // the API does not show it any more
)

// book is everything that the page shows.
type book struct {
	hidden string
	now    func() time.Time

	mu               sync.Mutex
	changed          chan struct{} // closed at the next change
	phones           []*phone
	flows            []*flow // oldest first
	flowSeq          uint64
	approved, denied int64 // in the page
}

// phone is one device and its challenges, under the book's lock.
type phone struct {
	Phone
	factor string
	wake   chan struct{} // there is something to fetch

	open  []*challenge // oldest first
	past  []*challenge // newest first
	older int          // open ones that were left out
	away  bool         // the API did not answer the last call
}

// challenge is one of a phone's.
type challenge struct {
	sid     string
	made    time.Time
	shown   bool // it was fetched, so the rest is known
	looked  time.Time
	message string
	fields  []device.Field
	expires time.Time
	status  string    // of a past one
	ended   time.Time // seen to be over
}

func newBook(cfg Config) *book {
	b := &book{hidden: cfg.Hidden, now: cfg.Now, changed: make(chan struct{})}
	for _, ph := range cfg.Phones {
		b.phones = append(b.phones, &phone{Phone: ph, factor: ph.Device.Factor().SID, wake: make(chan struct{}, 1)})
	}
	return b
}

// change applies something, and wakes those who wait for a change if apply
// says that there was one.
func (b *book) change(apply func() bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if apply() {
		close(b.changed)
		b.changed = make(chan struct{})
	}
}

// ring tells the phone of a new challenge. Those of other factors ring nowhere.
func (b *book) ring(c emulator.Created) {
	at := slices.IndexFunc(b.phones, func(ph *phone) bool { return ph.factor == c.FactorSID })
	if at < 0 {
		return
	}
	ph := b.phones[at]
	b.change(func() bool {
		ph.open = append(ph.open, &challenge{sid: c.SID, made: c.At})
		if len(ph.open) > maxOpen {
			ph.open = slices.Delete(ph.open, 0, 1)
			ph.older++
		}
		b.made(ph.Identity, c)
		return true
	})
	select {
	case ph.wake <- struct{}{}:
	default:
	}
}

// seen takes over how a challenge is now.
func (b *book) seen(ph *phone, c device.Challenge) {
	b.change(func() bool {
		news := ph.away
		ph.away = false
		at := slices.IndexFunc(ph.open, func(o *challenge) bool { return o.sid == c.SID })
		if at < 0 {
			return news
		}
		o := ph.open[at]
		o.looked = b.now()
		if !o.shown {
			// None of this changes in the life of a challenge.
			o.shown, o.expires, news = true, c.ExpirationDate, true
			if c.Details != nil {
				o.message, o.fields = c.Details.Message, c.Details.Fields
			}
			b.told(o)
		}
		if c.Status != statusPending {
			b.over(ph, at, c.Status)
			news = true
		}
		return news
	})
}

// gone takes a challenge out that the API does not know any more.
func (b *book) gone(ph *phone, sid string) {
	b.change(func() bool {
		ph.away = false
		if at := slices.IndexFunc(ph.open, func(o *challenge) bool { return o.sid == sid }); at >= 0 {
			b.over(ph, at, statusGone)
		}
		return true
	})
}

// over moves an open challenge to the past ones. The lock is held.
func (b *book) over(ph *phone, at int, status string) {
	c := ph.open[at]
	ph.open = slices.Delete(ph.open, at, at+1)
	c.status, c.ended = status, b.now()
	ph.past = slices.Insert(ph.past, 0, c)
	ph.past = ph.past[:min(len(ph.past), maxPast)]
	b.answered(c)
}

// pressed counts an answer that was given in the page.
func (b *book) pressed(status string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if status == device.StatusApproved {
		b.approved++
	} else {
		b.denied++
	}
}

// unreached says that the API did not answer the phone.
func (b *book) unreached(ph *phone) {
	b.change(func() bool {
		news := !ph.away
		ph.away = true
		return news
	})
}

// holder finds the phone that has an open challenge.
func (b *book) holder(sid string) *phone {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ph := range b.phones {
		if slices.ContainsFunc(ph.open, func(o *challenge) bool { return o.sid == sid }) {
			return ph
		}
	}
	return nil
}

// pastStatus finds what became of a challenge that is over.
func (b *book) pastStatus(sid string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ph := range b.phones {
		for _, c := range ph.past {
			if c.sid == sid {
				return c.status
			}
		}
	}
	return ""
}

// due lists the challenges of a phone that have to be looked at: what was never
// fetched, what may have expired, and the rest now and then, because somebody
// else may answer it.
func (b *book) due(ph *phone) (sids []string) {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range ph.open {
		if !c.shown || !now.Before(c.expires) || now.Sub(c.looked).Abs() >= lookEvery {
			sids = append(sids, c.sid)
		}
	}
	return sids
}
