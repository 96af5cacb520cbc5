package emulator

import (
	"cmp"
	"slices"
	"time"
)

func listChallenges(x *exchange) (answer, *apiError) {
	v, err := x.query("FactorSid", "Status", "Order", "PageSize", "Page", "PageToken")
	if err != nil {
		return answer{}, err
	}
	factorSID := v.Get("FactorSid")
	if v.Has("FactorSid") && !isSID(factorSID, "YF") {
		return answer{}, invalid("FactorSid", "is not YF and 32 hex digits")
	}
	status, err := oneOf(v, "Status", statusPending, statusExpired, statusApproved, statusDenied)
	if err != nil {
		return answer{}, err
	}
	order, err := oneOf(v, "Order", "asc", "desc")
	if err != nil {
		return answer{}, err
	}
	p, err := x.page(v, "FactorSid", "Status", "Order")
	if err != nil {
		return answer{}, err
	}
	ent, err := x.entity()
	if err != nil {
		if !x.e.cfg.Rules.EmptyListWithoutEntity {
			return answer{}, err
		}
		x.decided("empty-list-without-entity")
		ent = &entity{key: x.key(x.account.sid)}
	}
	now := x.e.cfg.Now()
	ent.mu.Lock()
	w, err := x.cutChallenges(ent, p, now, factorSID, status, order == "desc")
	copies := make([]challenge, len(w.items))
	for i, c := range w.items {
		copies[i] = *c
	}
	ent.mu.Unlock()
	if err != nil {
		return answer{}, err
	}
	views := make([]any, len(copies))
	for i, c := range copies {
		views[i] = x.view(ent, c, now)
	}
	return envelope(x, "challenges", ent.listPath()+"/Challenges", p, w, views), nil
}

// cutChallenges takes one page. The entity is locked.
func (x *exchange) cutChallenges(ent *entity, p pageRequest, now time.Time, factorSID, status string, desc bool) (window[*challenge], *apiError) {
	faults := x.e.faults.Load()
	var lagged, purged bool
	shown := func(c *challenge) bool {
		age := now.Sub(c.made)
		if c.luck.purged(age, faults) {
			purged = true
			return false
		}
		if age < c.luck.lagging(faults) {
			lagged = true
			return false
		}
		if c.options != nil && x.e.cfg.Rules.HidePasskeys {
			x.decided("hide-passkeys")
			return false
		}
		return true
	}
	defer func() {
		if lagged {
			x.e.stats.fault(FaultListLag)
		}
		if purged {
			x.e.stats.fault(FaultPurge)
		}
	}()
	all, compare := x.ordered(ent, now)
	n := len(all)
	index := func(i int) int {
		if desc {
			return n - 1 - i
		}
		return i
	}
	start := 0
	if p.after != "" {
		last := ent.bySID[p.after]
		if last == nil {
			return window[*challenge]{}, invalid("PageToken", "is not one that was given out")
		}
		at, _ := slices.BinarySearchFunc(all, last, compare)
		start = index(at) + 1
	}
	s := sequence[*challenge]{
		length: n,
		at:     func(i int) *challenge { return all[index(i)] },
		matches: func(c *challenge) bool {
			return (factorSID == "" || c.factor.sid == factorSID) && (status == "" || c.status(now) == status) && shown(c)
		},
		sid: func(c *challenge) string { return c.sid },
	}
	return s.cut(s.skip(start, p.skipped), p.size), nil
}

// ordered returns the entity's challenges in ascending order and what orders
// them. The entity is locked.
func (x *exchange) ordered(ent *entity, now time.Time) (all []*challenge, compare func(a, b *challenge) int) {
	rules := x.e.cfg.Rules
	if !rules.ReverseTies && !rules.OrderByUpdate {
		return ent.challenges, compareChallenges // kept in this order
	}
	compare = func(a, b *challenge) int {
		byTime, bySeq := a.created.Compare(b.created), cmp.Compare(a.seq, b.seq)
		if rules.OrderByUpdate {
			byTime = x.shownUpdate(a, now).Truncate(time.Second).Compare(x.shownUpdate(b, now).Truncate(time.Second))
		}
		if rules.ReverseTies {
			bySeq = -bySeq
		}
		return cmp.Or(byTime, bySeq)
	}
	all = slices.Clone(ent.challenges)
	slices.SortFunc(all, compare)
	if !slices.Equal(all, ent.challenges) {
		x.countOrder()
	}
	return all, compare
}

// countOrder counts the rules of the order, each of which may have made it.
func (x *exchange) countOrder() {
	if x.e.cfg.Rules.ReverseTies {
		x.decided("reverse-ties")
	}
	if x.e.cfg.Rules.OrderByUpdate {
		x.decided("order-by-update")
	}
}

func listFactors(x *exchange) (answer, *apiError) {
	v, err := x.query("PageSize", "Page", "PageToken")
	if err != nil {
		return answer{}, err
	}
	p, err := x.page(v)
	if err != nil {
		return answer{}, err
	}
	ent, err := x.entity()
	if err != nil {
		return answer{}, err
	}
	ent.mu.Lock()
	defer ent.mu.Unlock()
	w, err := cutAll(ent.factors, func(f *factor) string { return f.sid }, p)
	if err != nil {
		return answer{}, err
	}
	views := make([]factorView, len(w.items))
	for i, f := range w.items {
		views[i] = x.viewFactor(f)
	}
	return envelope(x, "factors", ent.listPath()+"/Factors", p, w, views), nil
}

func listEntities(x *exchange) (answer, *apiError) {
	v, err := x.query("PageSize", "Page", "PageToken")
	if err != nil {
		return answer{}, err
	}
	p, err := x.page(v)
	if err != nil {
		return answer{}, err
	}
	all := x.e.store.all(x.account.sid, x.route.service)
	w, err := cutAll(all, func(ent *entity) string { return ent.sid }, p)
	if err != nil {
		return answer{}, err
	}
	views := make([]entityView, len(w.items))
	for i, ent := range w.items {
		views[i] = x.viewEntity(ent)
	}
	return envelope(x, "entities", "/v2/Services/"+x.route.service+"/Entities", p, w, views), nil
}

// cutAll pages a slice without filters.
func cutAll[T any](all []T, sid func(T) string, p pageRequest) (window[T], *apiError) {
	start := 0
	if p.after != "" {
		at := slices.IndexFunc(all, func(item T) bool { return sid(item) == p.after })
		if at < 0 {
			return window[T]{}, invalid("PageToken", "is not one that was given out")
		}
		start = at + 1
	}
	s := sequence[T]{
		length:  len(all),
		at:      func(i int) T { return all[i] },
		matches: func(T) bool { return true },
		sid:     sid,
	}
	return s.cut(s.skip(start, p.skipped), p.size), nil
}
