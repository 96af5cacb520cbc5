package connector

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	apiverdict "github.com/countersign/countersign/connector/challenge/verdict"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// fetcher answers one request for records at a time. What waiting can mend is
// waited for here.
func (l *lane) fetcher(ctx context.Context) {
	delay := persistBase
	watch := &logWatch{src: l.src, topic: l.cfg.events.topics.Requests, partition: l.partition, last: l.lastTrace}
	for {
		var offset int64
		select {
		case <-ctx.Done():
			return
		case offset = <-l.ask:
		}
		for {
			res, err := watch.fetch(ctx, offset, l.cfg.fetchBytes, l.cfg.fetchMaxWait)
			if ctx.Err() != nil {
				return
			}
			if awayOrRefuses(err) {
				l.trouble.Warn("cannot fetch, trying again", "error", err)
				if !sleep(ctx, delay) {
					return
				}
				delay = min(2*delay, persistCap)
				continue
			}
			delay = persistBase
			select {
			case l.fetched <- fetchEnd{res, err}:
			case <-ctx.Done():
				return
			}
			break
		}
	}
}

// askFetch requests more records if there is room for them.
func (l *lane) askFetch() {
	if l.fetching || len(l.backlog) > 0 || !l.intakeOpen() {
		return
	}
	l.fetching = true
	l.ask <- l.resume
}

func (l *lane) intakeOpen() bool {
	return l.window.fits(l.resume) && !l.ledger.full() && !l.accountsHoldUp()
}

// accountsHoldUp reports that a blocked account holds its share of what this
// instance may hold. With every account blocked nothing more is taken in: what
// cannot be called is better kept in Kafka than here.
func (l *lane) accountsHoldUp() bool {
	blocked, share := 0, int64(l.cfg.window.Records/max(1, len(l.queues)))
	for a := range l.queues {
		if a.blocked() == notBlocked {
			continue
		}
		if blocked++; a.held.Load() >= share {
			return true
		}
	}
	return blocked > 0 && blocked == len(l.queues)
}

func (l *lane) takeFetch(f fetchEnd) error {
	l.fetching = false
	if f.err != nil {
		return l.explainFetch(f.err)
	}
	l.backlog, l.resume, l.end = f.result.Records, f.result.Next, f.result.LastStable
	l.unstable = max(0, f.result.HighWatermark-f.result.LastStable)
	return nil
}

// explainFetch adds to an error that waiting cannot mend what an operator has
// to decide. Nothing is skipped on a guess.
func (l *lane) explainFetch(err error) error {
	if kafka.CodeOf(err) == kafka.CodeUnknownTopic {
		return fmt.Errorf("partition %d: the topic or the partition is gone: %w", l.partition, err)
	}
	return fmt.Errorf("partition %d: %w", l.partition, err)
}

// admit takes in what fits. Once the last record is in that a former owner may
// have called, what was seen of factors is kept only for who waits for it.
func (l *lane) admit(now time.Time) {
	before := l.recovering()
	l.fill(now)
	if !before || l.recovering() {
		return
	}
	for factor := range l.looks.factors {
		l.forget(factor)
	}
}

// maxGulp is how many records are taken in before the lane looks around again. A
// fetch may bring thousands, and calls that have ended should not wait for all of
// them.
const maxGulp = 64

// fill takes records from the backlog into the window while they fit.
func (l *lane) fill(now time.Time) {
	l.crowded, l.hungry = false, false
	for taken := 0; len(l.backlog) > 0; taken++ {
		if taken == maxGulp {
			l.hungry = true
			return
		}
		rec := l.backlog[0]
		if !l.window.fits(rec.Offset) {
			return
		}
		if l.start.has(rec.Offset) {
			// An earlier owner committed its outcome. It stays in the done set
			// until the frontier has passed it.
			e := &entry{rec: kafka.Record{Offset: rec.Offset}, hash: hashRecord(&rec), heapAt: -1}
			l.window.add(e)
			l.window.settle(e)
			l.backlog = l.backlog[1:]
			continue
		}
		bytes := rec.Size()
		if !l.cfg.budget.take(bytes, l.window.held == 0, l.wake) {
			l.crowded = true
			return
		}
		l.backlog = l.backlog[1:]
		l.take(rec, bytes, now)
	}
	l.window.skip(l.resume)
}

// take makes an entry of a record and puts it behind those of its key.
func (l *lane) take(rec kafka.Record, bytes int64, now time.Time) {
	l.cfg.stats.record()
	e := &entry{rec: rec, hash: hashRecord(&rec), bytes: bytes, received: now, since: rec.Timestamp, heapAt: -1}
	if now.Before(e.since) || e.since.IsZero() {
		e.since = now // its producer's clock is ahead of ours, or it had none
	}
	e.enter(entryQueued, now, "an earlier record of its key")
	l.decode(e, now)
	l.tracing.taken(e)
	e.key = orderingKey(e)
	if e.acct != nil {
		e.acct.held.Add(1)
		l.identify(e)
	}
	l.window.add(e)
	l.ids.enter(e)
	if e.firstKey = l.keys.push(e); e.firstKey {
		l.activate(e, now)
	}
}

// identify gives a create or update what it is known by, and says whether it may
// have been called before. A read is made as often as it is asked for: it costs
// nothing, and its answer is of now.
func (l *lane) identify(e *entry) {
	if !isWrite(e.req.Operation) {
		return
	}
	m := l.cfg.marker
	e.id, e.body, e.record = m.idHash(e.req.ID), m.body(e.req), m.record(e.hash)
	if e.req.Operation == schemas.OperationCreate {
		e.marker = m.markOf(e.req, e.body)
	}
	if e.former = l.start.mayHaveCalled(e.rec.Offset); e.former {
		if e.rec.Timestamp.IsZero() {
			e.since = e.received.Add(-maxAge) // nobody knows when, but no longer ago can matter
		}
		l.distrust(e, l.fenced)
	}
	if e.anyAge {
		l.distrust(e, e.received)
	}
	if l.guard.watch(e, m); e.uncertain {
		l.guard.hold(e)
	}
}

// decode reads the request and checks all that an event alone, the clock of
// its producer and the configuration can get wrong. What fails has its outcome
// at once and costs no call.
func (l *lane) decode(e *entry, now time.Time) {
	by := apiverdict.RequestOf(e.rec.Value, e.rec.Headers, e.rec.Timestamp)
	for _, w := range by.Warnings {
		if l.cfg.stats.unknownField(w.Path) {
			l.log.Warn("request events have an unknown field; it is said once and counted", "offset", e.rec.Offset, "path", w.Path, "hint", w.Message)
		}
	}
	req, redrive := by.Event, by.Redrive
	if e.req = req; req != nil {
		e.notAfter = by.NotAfter(e.rec.Timestamp, l.cfg.notAfter)
	}
	e.redrives = redrive.Redrives
	if redrive.LookSince != nil {
		// Its earlier record may have been called.
		e.anyAge = true
		if since := notTooOld(*redrive.LookSince); since.Before(e.since) {
			e.since = since
		}
	}
	if by.Ending != nil {
		o := outcome{entry: e, ended: now, requestID: by.ID, operation: by.Operation}.ending(*by.Ending)
		e.verdict = &o
		return
	}
	if e.acct = l.accountOf(req); e.acct == nil {
		o := rejectFaults(e, schemas.ClassAccount, []schemas.Fault{{Path: "$.account", Message: l.accountFault(req)}}, now)
		e.verdict = &o
	}
}

// notTooOld cuts a moment that somebody else wrote to what the ledger can keep.
func notTooOld(at time.Time) time.Time {
	if oldest := time.Unix(1, 0); at.Before(oldest) {
		return oldest
	}
	return at
}

func (l *lane) accountFault(req *schemas.Request) string {
	if req.Account == "" {
		return "is needed, because more than one account is configured"
	}
	return strconv.Quote(req.Account) + " is not a configured account"
}

// orderingKey is what a record is kept in order by: its key, or its identity
// where it has no key. A record with neither has no order to keep.
func orderingKey(e *entry) string {
	switch {
	case e.rec.Key != nil:
		return "k" + string(e.rec.Key)
	case e.req != nil:
		return "i" + strings.ToLower(e.req.Identity)
	default:
		return "o" + strconv.FormatInt(e.rec.Offset, 10)
	}
}
