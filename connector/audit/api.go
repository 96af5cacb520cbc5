package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/ratelimit"
	"github.com/countersign/countersign/schemas"
)

// Challenges fetches challenges of one account. *read.Client is one; it can send
// nothing but GET.
type Challenges interface {
	Fetch(ctx context.Context, serviceSID, identity, sid string) (*read.Response, error)
}

// Recorded is what one result says of one challenge.
type Recorded struct {
	SID, Account, ServiceSID, Identity string
	RequestID                          string
	Operation                          schemas.Operation
	Result                             Place // where it is said
	Request                            Place // the request that it answers
	Challenge                          json.RawMessage
}

// CompareConfig says how challenges are compared with the API. Accounts and
// Budget must be set.
type CompareConfig struct {
	// Accounts are the ways to the API, by the name that requests give an account;
	// "" is that of the requests that name none.
	Accounts map[string]Challenges
	// Budget is how many calls may be made at most, repeated ones included. It is
	// also about how many challenges are held in memory, 600 bytes each.
	Budget int64
	// Rate is how many calls are made a second for each account. Zero: 20.
	Rate float64
	// MaxFindings is how many findings of a kind are listed; all are counted.
	// Zero: 1000.
	MaxFindings int
	// Identity is how findings tell an identity. Nil: they don't.
	Identity func(identity string) string
	// Progress is called after each challenge, by one goroutine at a time, with how
	// many of how many are done. Nil: not.
	Progress func(done, total int64)
}

// Comparison is what Compare found.
type Comparison struct {
	API API
	// Findings are of KindAPIMissing, KindAPIStatus and KindAPIChanged, in the
	// report's order. Their texts name fields and statuses and no other values.
	Findings []Finding
	ByKind   map[Kind]int64 // exact where the list is cut
}

const (
	mostBudget         = 1_000_000
	defaultCompareRate = 20
	compareAtOnce      = 8 // calls of an account
	exactlyCounted     = 1 << 16
)

func (c CompareConfig) check() error {
	if c.Budget < 1 || c.Budget > mostBudget {
		return invalid("the budget must be from 1 to %d calls", mostBudget)
	}
	if c.Rate != 0 && !(c.Rate >= 1e-3 && c.Rate <= 1e6) { // not a number is outside, too
		return invalid("the rate must be 0, or from 0.001 to 1000000 calls a second")
	}
	if c.MaxFindings < 0 || c.MaxFindings > mostFindings {
		return invalid("from 0 to %d findings of a kind can be listed", mostFindings)
	}
	return nil
}

// Compare fetches what recorded says of challenges from the API and compares. Of
// what is said of one challenge the latest state counts, by the API's own
// date_updated.
//
// Where there are more challenges than the budget has calls, those are compared
// whose SIDs have the smallest SHA-256: the same ones each time, spread over the
// window, and nobody who makes challenges can choose them. Memory is bounded by the
// budget. API.Challenges is exact up to 65,536, and the budget where that is higher;
// above it is an estimate that is 0.4 % off as a rule, the same each time.
//
// Throttled calls wait as the API asks and are repeated; so are server errors and
// lost connections, a few times. A challenge that the API gives no answer for is
// counted as failed, with the reason.
//
// The error is an *Error: CodeInvalid for the configuration, CodeInterrupted where
// ctx ended, CodeAPI where the API refuses an account's credentials or every call
// failed, and else what recorded yielded. Beside the last three the Comparison
// holds what was compared.
func Compare(ctx context.Context, cfg CompareConfig, recorded iter.Seq2[Recorded, error]) (Comparison, error) {
	out := Comparison{API: API{Budget: cfg.Budget, Failures: map[string]int64{}, Moves: map[string]int64{}}, Findings: []Finding{}, ByKind: map[Kind]int64{}}
	if err := cfg.check(); err != nil {
		return out, err
	}
	picked := newSmallest[*known](int(cfg.Budget))
	all := newSmallest[struct{}](max(int(cfg.Budget), exactlyCounted))
	for rec, err := range recorded {
		if err != nil {
			return out, err
		}
		if ctx.Err() != nil {
			return out, &Error{Code: CodeInterrupted, Err: context.Cause(ctx)}
		}
		at := rankOf(rec.SID)
		all.put(at, func(struct{}, bool) struct{} { return struct{}{} })
		picked.put(at, func(was *known, there bool) *known {
			if now := knownOf(rec); !there || now.after(was) {
				return now
			}
			return was
		})
	}
	out.API.Challenges = all.number()
	c := &comparer{cfg: cfg, out: &out, left: cfg.Budget, refused: map[string]bool{}}
	return out, c.run(ctx, picked.sorted())
}

// comparer makes the calls of one Compare.
type comparer struct {
	cfg CompareConfig

	mu      sync.Mutex // of all below
	out     *Comparison
	left    int64 // calls
	done    int64
	refused map[string]bool // accounts whose credentials are
}

func (c *comparer) run(ctx context.Context, all []*known) error {
	callers := map[string]caller{}
	for _, k := range all {
		if _, there := callers[k.account]; there {
			continue
		}
		limiter, err := c.limiter()
		if err != nil {
			return err
		}
		callers[k.account] = caller{c, k.account, c.cfg.Accounts[k.account], limiter}
	}
	var workers sync.WaitGroup
	for name, from := range callers {
		jobs := make(chan *known)
		for range compareAtOnce {
			workers.Go(func() {
				for k := range jobs {
					c.one(ctx, from, k, int64(len(all)))
				}
			})
		}
		// One dispatcher for each account: a throttled one holds up no other.
		workers.Go(func() {
			defer close(jobs)
			for _, k := range all {
				if k.account == name && ctx.Err() == nil {
					jobs <- k // a worker always comes back for it
				}
			}
		})
	}
	workers.Wait()
	c.finish()
	return c.verdict(ctx)
}

func (c *comparer) limiter() (*ratelimit.Limiter, error) {
	rate := c.cfg.Rate
	if rate == 0 {
		rate = defaultCompareRate
	}
	l, err := ratelimit.New(ratelimit.Config{PerSecond: rate, Burst: 1, Concurrency: compareAtOnce})
	if err != nil {
		return nil, invalid("%w", err)
	}
	l.SetShare(1, 1)
	return l, nil
}

// one compares one challenge and takes down what came of it.
func (c *comparer) one(ctx context.Context, from caller, k *known, total int64) {
	res, found := from.fetch(ctx, k)
	if found == fetchStopped {
		return
	}
	var findings []Finding
	move := ""
	switch found {
	case fetchMissing:
		findings = append(findings, c.finding(k, KindAPIMissing, DetailNotFound, "The API does not know the challenge."))
	case fetchDone:
		now := stateOf(res.Raw)
		if now == nil {
			found = fetchFailed
			c.failed("the API's answer is no challenge")
			break
		}
		var drift string
		move, drift = k.state.moved(now)
		if drift != "" {
			findings = append(findings, c.finding(k, KindAPIStatus, DetailStatusDrift, drift))
		}
		if names := k.state.changed(now); len(names) > 0 {
			findings = append(findings, c.finding(k, KindAPIChanged, DetailFieldsChanged, "Fields differ from what was recorded: "+joined(names)+"."))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if found != fetchFailed {
		c.out.API.Compared++
	}
	if move != "" {
		c.out.API.Moves[move]++
	}
	for _, f := range findings {
		c.out.ByKind[f.Kind]++
		c.out.Findings = append(c.out.Findings, f)
	}
	c.done++
	if c.cfg.Progress != nil {
		c.cfg.Progress(c.done, total)
	}
}

// take takes one call out of the budget; false: there is none left.
func (c *comparer) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == 0 {
		return false
	}
	c.left--
	c.out.API.Calls++
	return true
}

func (c *comparer) failed(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.API.Failed++
	c.out.API.Failures[why]++
}

// finish puts the findings in order and cuts them.
func (c *comparer) finish() {
	kinds := Kinds()
	slices.SortFunc(c.out.Findings, func(a, b Finding) int {
		if d := slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind); d != 0 {
			return d
		}
		return byPlace(a, b)
	})
	most := c.cfg.MaxFindings
	if most == 0 {
		most = 1000
	}
	listed := map[Kind]int{}
	c.out.Findings = slices.DeleteFunc(c.out.Findings, func(f Finding) bool {
		listed[f.Kind]++
		return listed[f.Kind] > most
	})
}

func (c *comparer) verdict(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return &Error{Code: CodeInterrupted, Err: context.Cause(ctx)}
	case len(c.refused) > 0:
		return &Error{Code: CodeAPI, Err: fmt.Errorf("the API refuses the credentials of %d account(s)", len(c.refused))}
	case c.out.API.Failed > 0 && c.out.API.Compared == 0:
		return &Error{Code: CodeAPI, Err: fmt.Errorf("none of %d challenges could be fetched", c.out.API.Failed)}
	default:
		return nil
	}
}

func (c *comparer) finding(k *known, kind Kind, detail Detail, text string) Finding {
	f := Finding{
		Kind: kind, Detail: detail, ChallengeSID: k.sid, Text: text, Records: []Place{k.result},
		Request: &Request{Place: k.request, ID: k.requestID, Operation: k.operation},
	}
	if c.cfg.Identity != nil && k.identity != "" {
		f.Request.Identity = c.cfg.Identity(k.identity)
	}
	return f
}

// number is how many different ones were put in, an estimate where some were left
// out: the largest that is kept says how densely they lie.
func (s *smallest[T]) number() int64 {
	if !s.cut {
		return int64(len(s.heap))
	}
	share := s.heap[0].fraction()
	return int64(math.Round(float64(len(s.heap)-1) / share))
}
