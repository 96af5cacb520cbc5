package connector

import (
	"context"
	"encoding/json"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/schemas"
)

// simCaller is a process's way to the API.
type simCaller struct {
	w *sim
	p *simProc
}

// simFate is what becomes of a request on its way.
type simFate struct {
	unsent        bool
	lost          bool // never arrives
	mute          bool // no answer comes
	reset         bool // with mute: and the connection breaks, which is seen
	refuse        error
	refuseAfter   bool // the effect takes place all the same
	there, back   time.Duration
	held          time.Duration // between its arrival and its effect
	lag           time.Duration // of what it changes
	stale         time.Duration // of the replica that answers it
	dies          time.Duration // when its process dies; zero: it lives
	garbled, late bool
}

func (c *simCaller) fate(key string, write bool) simFate {
	w := c.w
	if f, ok := w.scripted(key); ok {
		return f
	}
	f := simFate{
		there: w.between(2*time.Millisecond, 60*time.Millisecond, "there "+key), back: w.between(2*time.Millisecond, 60*time.Millisecond, "back "+key),
		lag: w.between(0, simMostLag/2, "lag "+key), stale: w.between(0, simMostLag/2, "stale "+key),
	}
	if !w.happens(0.5, "lags "+key) {
		f.lag = 0
	}
	if !w.happens(0.3, "is stale "+key) {
		f.stale = 0
	}
	if w.fails(2*w.plan.crash, "crash "+key) {
		f.dies = w.between(1, f.there+f.back+2*time.Millisecond, "dies "+key)
	}
	if !w.fails(w.plan.api, "fate "+key) {
		return f
	}
	date := c.w.apiNow()
	switch w.below(13, "which fate "+key) {
	case 0:
		f.unsent = true
	case 1:
		f.lost, f.mute = true, true
	case 2:
		f.lost, f.mute, f.reset = true, true, true
	case 3:
		f.mute, f.reset = true, true
	case 12:
		f.mute, f.reset, f.late = true, true, true
		f.held = w.between(simTimeout/4, simLastEffect-f.there, "held "+key)
	case 4:
		f.mute = true
	case 5, 6:
		f.late = true
		f.there = w.between(simTimeout/2, simLastEffect, "late "+key)
	case 7:
		f.refuse = &read.APIError{Status: 503, Date: date}
	case 8:
		f.refuse, f.refuseAfter = &read.APIError{Status: 500, Date: date}, true
	case 9:
		f.refuse = &read.APIError{Status: 429, Code: 20429, Date: date, HasRetryAfter: true, RetryAfter: time.Second}
	case 10:
		f.garbled = true
	case 11:
		if write {
			f.refuse = &read.APIError{Status: 400, Code: 60306, Message: "no", Date: date}
		}
		if w.below(6, "credentials "+key) == 0 {
			f.refuse = &read.APIError{Status: 401, Code: 20003, Date: date}
		}
	}
	return f
}

func (w *sim) apiNow() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.api.now()
}

// simHTTP is a request to the API; apply runs there with mu held.
func simHTTP[T any](ctx context.Context, c *simCaller, key string, f simFate, apply func() (T, error)) (T, error) {
	type end struct {
		value T
		err   error
	}
	var none end
	w := c.w
	w.mu.Lock()
	dead, down := c.p.dead, w.api.isDown(time.Now())
	w.mu.Unlock()
	switch {
	case dead:
		return none.value, &read.CallError{Code: read.CodeCanceled, Err: errSimEnded}
	case f.unsent:
		if !w.rest(ctx, f.there) {
			return none.value, &read.CallError{Code: read.CodeCanceled, Err: errSimEnded}
		}
		return none.value, &read.CallError{Code: read.CodeNotSent, Err: errSimLost}
	case down:
		f.lost, f.mute, f.reset = true, true, true
	}
	if f.dies > 0 {
		w.after(f.dies, func() { w.locked(func() { c.p.kill("at a call " + key) }) })
	}
	answer := make(chan end, 1)
	if !f.lost {
		w.after(f.there+f.held, func() {
			var e end
			w.locked(func() {
				if f.refuse == nil || f.refuseAfter {
					e.value, e.err = apply()
				}
				if f.refuse != nil {
					e.err = f.refuse
				}
				if f.late {
					w.saw("late effect")
				}
			})
			if f.garbled && e.err == nil {
				e.err = &read.CallError{Code: read.CodeBadAnswer, Sent: true, Err: errSimLost}
			}
			if !f.mute {
				w.after(f.back, func() { answer <- e })
			}
		})
	}
	var broken <-chan time.Time
	if f.reset {
		broken = time.After(f.there + f.back)
	}
	limit := time.NewTimer(simTimeout)
	defer limit.Stop()
	e := none
	select {
	case e = <-answer:
	case <-broken:
		e.err = &read.CallError{Code: read.CodeNoAnswer, Sent: true, Err: errSimLost}
	case <-limit.C:
		e.err = &read.CallError{Code: read.CodeTimeout, Sent: true, Err: errSimLost}
	case <-ctx.Done():
		e.err = &read.CallError{Code: read.CodeCanceled, Sent: true, Err: ctx.Err()}
	case <-c.p.died:
		e.err = &read.CallError{Code: read.CodeCanceled, Sent: true, Err: errSimEnded}
	}
	if e.err != nil {
		var zero T
		e.value = zero
	}
	if !c.p.gate() {
		return none.value, &read.CallError{Code: read.CodeCanceled, Sent: true, Err: errSimEnded}
	}
	return e.value, e.err
}

func (c *simCaller) call(ctx context.Context, out outgoing) (answer, error) {
	op := string(out.req.Operation)
	key := op + " " + out.req.ID
	f := c.fate(key, isWrite(out.req.Operation))
	w := c.w
	w.mu.Lock()
	if c.p.dead {
		w.mu.Unlock()
		return answer{}, &read.CallError{Code: read.CodeCanceled, Err: errSimEnded}
	}
	if isWrite(out.req.Operation) && !f.unsent {
		w.api.sent(c.p, out)
	}
	w.note("%s calls %s: %+v", c.p.name, key, f)
	w.mu.Unlock()
	res, err := simHTTP(ctx, c, key, f, func() (answer, error) { return c.serve(out, f) })
	w.locked(func() { w.note("%s gets %s: %v", c.p.name, key, err) })
	return res, err
}

// serve is what the API does with a call.
func (c *simCaller) serve(out outgoing, f simFate) (answer, error) {
	a, r := c.w.api, out.req
	date := a.now()
	switch r.Operation {
	case schemas.OperationCreate:
		return answer{challenge: a.create(c.p, out, f.lag).Raw, date: date, requestID: "RQ2"}, nil
	case schemas.OperationUpdate:
		ch, err := a.update(r)
		if err != nil {
			return answer{}, err
		}
		return answer{challenge: ch.Raw, date: date}, nil
	case schemas.OperationFetch:
		ch := a.bySID[r.ChallengeSID]
		if ch == nil {
			return answer{}, a.refuse(404, 20404)
		}
		return answer{challenge: ch.Raw, date: date}, nil
	default:
		list := answer{challenges: []json.RawMessage{}, date: date}
		for _, ch := range a.list(r.Identity, "", time.Now()) {
			list.challenges = append(list.challenges, ch.Raw)
		}
		return list, nil
	}
}

func (c *simCaller) probe(ctx context.Context, _ probeTarget) (answer, error) {
	return simHTTP(ctx, c, "probe", c.fate("probe", false), func() (answer, error) { return answer{date: c.w.api.now()}, nil })
}

// firstLook reports whether the process has not looked at the factor yet.
func (c *simCaller) firstLook(factor string) bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.w.looked[c.p.name+factor] == 0
}

// look reads pages as apiCaller.look does.
func (c *simCaller) look(ctx context.Context, q query, pay func() error) (sighting, error) {
	type page struct {
		challenges []read.Challenge
		more       bool
		date       time.Time
	}
	var s sighting
	older := "" // than the last one of the page before
	for n := 0; ; n++ {
		key := "look " + q.factorSID[len(q.factorSID)-1:]
		f := c.fate(key, false)
		if c.firstLook(q.factorSID) && c.w.fails(c.w.plan.api/2, "very stale "+key) {
			f.stale = 30 * time.Second // the second list is there for this one
		}
		got, err := simHTTP(ctx, c, key, f, func() (page, error) {
			all := c.w.api.list(q.identity, q.factorSID, time.Now().Add(-f.stale))
			for older != "" && len(all) > 0 && all[0].SID >= older {
				all = all[1:]
			}
			end := min(simPageSize, len(all))
			return page{all[:end], end < len(all), c.w.api.now()}, nil
		})
		c.w.locked(func() {
			c.w.looked[q.factorSID]++
			c.w.looked[c.p.name+q.factorSID]++
			c.w.note("%s looks at %s page %d: %d %v", c.p.name, q.factorSID[30:], n, len(got.challenges), err)
		})
		if err != nil {
			return sighting{}, err
		}
		if n == 0 {
			s.date = got.date
		}
		s.last = got.date
		past := false
		for _, ch := range got.challenges {
			if _, marked := ch.HiddenDetails.Text(schemas.MarkerKey); marked {
				s.challenges = append(s.challenges, ch)
			}
			past = past || ch.DateCreated.Before(q.backTo)
		}
		if past || !got.more {
			s.complete = true
			return s, nil
		}
		older = got.challenges[len(got.challenges)-1].SID
		if n+1 >= q.maxPages {
			c.w.locked(func() { c.w.saw("page cap reached") })
			return s, nil
		}
		if err := pay(); err != nil {
			return sighting{}, err
		}
	}
}
