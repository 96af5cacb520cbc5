package connector

import (
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// idleCommit is how often a lane without records commits that it has stepped
// over offsets that hold none.
const idleCommit = time.Second

// callAhead is how far above the highest offset that is wanted calledTo is
// raised, so that a busy lane raises it by the commits that it makes anyway. A
// larger step would make more records uncertain after a crash.
const callAhead = 256

// mayCall reports whether the lane's durable calledTo lets e be called. Where it
// does not, the next commit raises it.
func (l *lane) mayCall(e *entry) bool {
	if !isWrite(e.req.Operation) {
		return true
	}
	l.reach = max(l.reach, e.rec.Offset+1)
	return l.ranged && e.rec.Offset < l.calledTo
}

// wantsCalledTo reports that calls wait for a commit that raises calledTo.
func (l *lane) wantsCalledTo() bool {
	return l.reach > 0 && (!l.ranged || l.reach > l.calledTo)
}

// hasLeaving reports that a drained lane has not yet said what exactly it may
// have called.
func (l *lane) hasLeaving() bool { return l.draining && l.ranged && !l.left && !l.lost }

// A lane that ends gatherFrom records or more in gatherFor, on the average of a
// second, lets the next group grow for that long. A transaction costs a broker the
// same few milliseconds of work with one record as with a hundred, and what it works
// on that it does not answer others. What counts is the pace, not the size of a
// group: one that has grown while the broker was slow is no reason to wait again.
const (
	gatherFrom = 4
	gatherFor  = 100 * time.Millisecond
	paceOver   = time.Second
)

// pace is how fast outcomes come, over paceOver at least: a few that come
// together make no lane busy.
type pace struct {
	since   time.Time
	records int
	busy    bool // it was gatherFrom in gatherFor, or faster
}

// count adds the records of a commit that begins now.
func (p *pace) count(records int, now time.Time) {
	p.records += records
	if took := now.Sub(p.since); took >= paceOver {
		// Over more than two, the lane has had nothing to do for most of it.
		p.busy = took < 2*paceOver && took <= time.Duration(p.records)*gatherFor/gatherFrom
		p.since, p.records = now, 0
	}
}

// gathers is for how long the next commit is put off; zero: not at all. A lane
// with little to do never waits, nor one with all to do behind it, nor one whose
// calls wait for the commit.
func (l *lane) gathers(now time.Time) time.Duration {
	if l.draining || !l.pace.busy || l.inFlight == 0 || l.wantsCalledTo() || len(l.finished) == 0 ||
		len(l.finished) >= l.cfg.maxBatch || l.finishedBytes >= maxBatchBytes {
		return 0
	}
	return max(0, gatherFor-now.Sub(l.lastEnd))
}

// startCommit commits what has finished, one group at a time: the first
// outcome of an idle lane goes at once, and while a commit is under way, or for a
// moment in a busy lane, the next group grows.
func (l *lane) startCommit(now time.Time) {
	if l.commitBusy || l.givenUp() || l.gathers(now) > 0 {
		return
	}
	leaving := l.hasLeaving() && l.inFlight == 0 && len(l.finished) <= l.cfg.maxBatch
	switch {
	case len(l.finished) > 0:
		l.cutBatch()
		leaving = leaving && len(l.finished) == 0
	case leaving, (l.wantsCalledTo() || l.unwritten) && !l.draining:
	case l.window.held > 0, l.window.next == l.committed, now.Sub(l.lastCommit) < idleCommit, l.draining:
		return
	}
	g, err := l.group(now, leaving)
	l.pace.count(len(l.committing), now)
	l.commitBusy, l.lastCommit = true, now
	l.pending = g.position
	l.commitSpan = l.tracing.commit(l.committing)
	l.workers.Go(func() {
		if err == nil {
			err = l.persist(g)
		}
		l.commits <- err
	})
}

// group is the commit of the outcomes in committing.
func (l *lane) group(now time.Time, leaving bool) (group, error) {
	var g group
	for _, o := range l.committing {
		if o.suppressed {
			o.entry.committing = true
			continue
		}
		outputs, err := l.cfg.events.records(o)
		if err != nil {
			// An event of our own that cannot be encoded is a defect. The
			// record is kept as a dead letter rather than lost.
			l.log.Error("cannot encode a result", "offset", o.entry.rec.Offset, "error", err)
			o.outcome, o.deadLetter = "", true
			outputs = []output{l.cfg.events.deadLetter(withError(o, err))}
		}
		g.outputs = append(g.outputs, outputs...)
		o.entry.committing = true
	}
	p, last := l.window.position()
	l.keepDone(&p)
	l.seq++
	p.seq = l.seq
	p.calledTo = max(l.calledTo, p.frontier)
	if leaving || l.reach == 0 && l.start.left != nil {
		p.left = l.mayHaveCalled()
	} else if l.reach > 0 {
		p.calledTo = max(p.calledTo, l.reach+callAhead)
	}
	g.position = p
	err := l.keepBooks(&g, last, now)
	return g, err
}

// keepDone adds to p what an earlier owner had done and this lane has not come
// to yet.
func (l *lane) keepDone(p *position) {
	end := l.start.frontier + l.start.done.end()
	for offset := max(l.window.next, l.start.frontier); offset < end; offset++ {
		if l.start.has(offset) {
			p.done.set(offset - p.frontier)
		}
	}
}

// mayHaveCalled is which of the records without a durable outcome may have been
// called, by this lane or by an earlier owner whose doubt is not settled yet.
func (l *lane) mayHaveCalled() *runs {
	out := &runs{}
	l.window.unsettled(func(e *entry) bool {
		waits := e.state == entryDone && e.acct != nil && isWrite(e.req.Operation)
		if (e.uncertain || waits) && !e.committing {
			out.add(e.rec.Offset, e.rec.Offset+1)
		}
		return true
	})
	l.start.doubts(l.window.next, out)
	return out
}

// seenEntry is a ledger entry that a commit under way carries.
type seenEntry struct {
	id   hash
	seen seenID
}

// keepBooks adds the ledger entries and the position record.
func (l *lane) keepBooks(g *group, last trace, now time.Time) error {
	l.pendingBooks = l.pendingBooks[:0]
	for _, o := range l.committing {
		if seen, ok := o.seen(); ok && l.ledger.wins(o.entry.id, seen) {
			l.pendingBooks = append(l.pendingBooks, seenEntry{o.entry.id, seen})
			msg, err := l.cfg.events.ledgerEntry(o.entry.id, o.entry.rec.Partition, seen)
			if err != nil {
				return err
			}
			g.books = append(g.books, msg)
		}
	}
	for _, b := range l.answeredEntries(now) {
		msg, err := l.cfg.events.ledgerEntry(b.id, l.partition, b.seen)
		if err != nil {
			return err
		}
		g.books = append(g.books, msg)
	}
	msg, err := l.cfg.events.positionRecord(l.partition, l.cfg.partitions, g.position, last, now)
	if err != nil {
		return err
	}
	g.books = append(g.books, msg)
	return nil
}

// maxBatchBytes bounds the answers and the bad records that one commit publishes.
// A transaction has a few seconds.
const maxBatchBytes = 4 << 20

// cutBatch moves what the next commit takes from finished to committing: at
// least one record, and no more than the bounds of records and bytes allow.
func (l *lane) cutBatch() {
	n, size := 0, 0
	for n < len(l.finished) && n < l.cfg.maxBatch && (n == 0 || size < maxBatchBytes) {
		size += l.finished[n].size()
		n++
	}
	l.committing = append([]outcome(nil), l.finished[:n]...)
	rest := copy(l.finished, l.finished[n:])
	clear(l.finished[rest:])
	l.finished = l.finished[:rest]
	l.finishedBytes -= size
}

// commitEnded settles the records of a group that is durable. It reports true
// when the lane must end.
func (l *lane) commitEnded(err error) (stop bool, fatal error) {
	l.commitBusy, l.lastEnd = false, time.Now()
	l.commitTraced(err)
	if err != nil {
		switch {
		case kafka.CodeOf(err) == kafka.CodeOwnershipLost, kafka.CodeOf(err) == kafka.CodeFenced:
			l.lost = true
			l.log.Warn("the group gave the partition to another member before the lane had committed: its last records are the next owner's, who looks before calling", "records", len(l.committing)+len(l.finished))
			return true, nil // losing a partition is no failure of the connector
		case l.givenUp():
			l.log.Error("the drain timeout ended before the last commit: its records are left to the next owner", "records", len(l.committing)+len(l.finished))
			return true, l.fatal // the records are counted as abandoned
		default:
			return true, err
		}
	}
	l.committed, l.calledTo = l.pending.frontier, l.pending.calledTo
	l.unwritten = false
	l.left = l.pending.left != nil
	l.ranged = !l.left
	l.cfg.stats.committed(l.committing, time.Since(l.lastCommit))
	for _, b := range l.pendingBooks {
		l.ledger.add(b.id, b.seen)
		if l.ids.fresh[b.id] == b.seen {
			delete(l.ids.fresh, b.id)
		}
	}
	records, bytes := 0, int64(0)
	for _, o := range l.committing {
		records, bytes = records+1, bytes+o.entry.bytes
		l.window.settle(o.entry)
	}
	l.committing = nil
	if records > 0 {
		l.cfg.budget.give(records, bytes)
	}
	return false, nil
}
