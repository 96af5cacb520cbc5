package connector

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/schemas"
)

// simChallenge is a challenge at the API.
type simChallenge struct {
	read.Challenge
	request string    // id of the request that it was made for; empty: somebody else's
	effect  time.Time // when it was made, by the world's clock
	shown   time.Time // when every replica shows it, by the world's clock
	gone    time.Time // when the API forgets it
}

// simAPI is the state of the API. mu of the sim guards it.
type simAPI struct {
	w     *sim
	order []*simChallenge // as they were made
	bySID map[string]*simChallenge
	made  map[string][]*simChallenge // by request id
	down  []simOutage
}

// simOutage is a time in which nothing is answered.
type simOutage struct{ from, to time.Time }

func simSID(n int) string { return fmt.Sprintf("YC%032d", n) }

func newSimAPI(w *sim) *simAPI {
	a := &simAPI{w: w, bySID: map[string]*simChallenge{}, made: map[string][]*simChallenge{}}
	mark := newMarker(Config{Recovery: RecoveryConfig{Deployment: "another"}})
	for n := range 3 {
		hidden := read.Properties{schemas.MarkerKey: mark.mark(&schemas.Request{ID: fmt.Sprintf("id-%d", n)})}
		if n == 2 {
			hidden = nil
		}
		a.add(&simChallenge{Challenge: read.Challenge{
			Identity: "identity-0", FactorSID: simFactor(0), Details: &read.Details{Message: "Sign in?"}, HiddenDetails: hidden,
		}})
	}
	return a
}

// now is the API's clock.
func (a *simAPI) now() time.Time { return time.Now().Add(a.w.plan.skew).UTC().Truncate(time.Second) }

func (a *simAPI) isDown(now time.Time) bool {
	for _, d := range a.down {
		if !now.Before(d.from) && now.Before(d.to) {
			return true
		}
	}
	return false
}

// add makes a challenge visible after a while.
func (a *simAPI) add(c *simChallenge) {
	created := a.now()
	c.SID, c.ServiceSID, c.Status = simSID(len(a.order)), simService, read.StatusPending
	c.DateCreated, c.effect = &created, time.Now()
	c.gone = time.Now().Add(maxAge + time.Minute)
	a.order = append(a.order, c)
	a.bySID[c.SID] = c
	if c.request != "" {
		a.made[c.request] = append(a.made[c.request], c)
	}
	a.encode(c)
}

func (a *simAPI) encode(c *simChallenge) {
	raw, err := json.Marshal(c.Challenge)
	if err != nil {
		a.w.t.Fatal(err)
	}
	c.Raw = raw
}

// create is the effect of a create.
func (a *simAPI) create(p *simProc, out outgoing, lag time.Duration) *simChallenge {
	r := out.req
	hidden := read.Properties{}
	for k, v := range withMark(r.Create.HiddenDetails, out.marker) {
		hidden[k] = v
	}
	details := &read.Details{Message: r.Create.Details.Message}
	for _, f := range r.Create.Details.Fields {
		details.Fields = append(details.Fields, read.Field{Label: f.Label, Value: f.Value})
	}
	c := &simChallenge{request: r.ID, shown: time.Now().Add(lag), Challenge: read.Challenge{
		Identity: r.Identity, FactorSID: r.Create.FactorSID, Details: details, HiddenDetails: hidden,
	}}
	a.add(c)
	a.w.note("API: challenge %s for %s by %s, shown in %v", c.SID[len(c.SID)-4:], r.ID, p.name, lag.Round(time.Millisecond))
	a.checkGuard(r)
	if n := len(a.made[r.ID]); n > 1 {
		a.w.violate("%d challenges for the request id %s", n, r.ID)
	}
	return c
}

// update is the effect of an update.
func (a *simAPI) update(r *schemas.Request) (*simChallenge, error) {
	c := a.bySID[r.ChallengeSID]
	switch {
	case c == nil:
		return nil, a.refuse(404, 20404)
	case c.Status != read.StatusPending:
		return nil, a.refuse(403, 60322)
	}
	c.Status = read.StatusApproved
	a.encode(c)
	return c, nil
}

func (a *simAPI) refuse(status, code int) error {
	return &read.APIError{Status: status, Code: code, Message: "the API says no", Date: a.now(), RequestID: "RQ1"}
}

// list is what a replica shows of a factor, newest first.
func (a *simAPI) list(identity, factor string, at time.Time) []read.Challenge {
	var out []read.Challenge
	for _, c := range slices.Backward(a.order) {
		if c.Identity == identity && (factor == "" || c.FactorSID == factor) && !c.shown.After(at) && c.gone.After(time.Now()) {
			out = append(out, c.Challenge)
		}
	}
	return out
}

// sent checks a create or an update at the moment at which it leaves a process:
// what must be true of it then. The caller holds mu.
func (a *simAPI) sent(p *simProc, out outgoing) {
	w := a.w
	if p.lease == nil || p.lease.left() <= 0 {
		w.violate("%s calls for %s without a lease", p.name, out.req.ID)
	}
	covered, owned, fresh := false, false, false
	for _, r := range w.byID[out.req.ID] {
		if r.aborted || r.req == nil {
			continue
		}
		owned = owned || w.group.owner[r.part] == p.member
		covered = covered || w.broker.parts[r.part].covered(r.offset)
		fresh = fresh || w.isFresh(r)
	}
	switch {
	case !owned:
		w.violate("%s calls for %s, whose partition is another's", p.name, out.req.ID)
	case !covered:
		w.violate("%s calls for %s, which nothing durable says may be called", p.name, out.req.ID)
	case !fresh:
		w.violate("%s calls for %s, which is too late", p.name, out.req.ID)
	}
	if n := len(a.made[out.req.ID]); n > 0 && out.req.Operation == schemas.OperationCreate {
		w.violate("%s calls for %s, which has %d challenge(s)", p.name, out.req.ID, n)
	}
}

// isFresh allows for what a process cannot know of the API's clock.
func (w *sim) isFresh(r *simRecord) bool {
	end := r.timestamp.Add(w.plan.notAfter)
	if r.req.NotAfter != nil {
		end = *r.req.NotAfter
	}
	if head, faults := schemas.DecodeRedrive(r.headers); len(faults) == 0 && head.NotAfter != nil {
		end = *head.NotAfter
	}
	return time.Now().Before(end.Add(w.plan.skew.Abs()))
}
