package connector

import (
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// idleCommit is how often a lane without records commits that it has stepped
// over offsets that hold none.
const idleCommit = time.Second

// startCommit commits what has finished, one group at a time: the first
// outcome of an idle lane goes at once, and while a commit is under way the
// next group grows.
func (l *lane) startCommit(now time.Time) {
	if l.commitBusy || l.givenUp() {
		return
	}
	var g group
	if len(l.finished) == 0 {
		if l.window.held > 0 || l.window.next == l.committed || now.Sub(l.lastCommit) < idleCommit || l.draining {
			return
		}
	} else {
		l.cutBatch()
	}
	entries := make([]*entry, 0, len(l.committing))
	for _, o := range l.committing {
		outputs, err := l.cfg.events.records(o)
		if err != nil {
			// An event of our own that cannot be encoded is a defect. The
			// record is kept as a dead letter rather than lost.
			l.log.Error("cannot encode a result", "offset", o.entry.rec.Offset, "error", err)
			o.outcome, o.deadLetter = "", true
			outputs = []output{l.cfg.events.deadLetter(withError(o, err))}
		}
		g.outputs = append(g.outputs, outputs...)
		entries = append(entries, o.entry)
	}
	g.position = l.window.position(entries)
	l.commitBusy, l.lastCommit = true, now
	l.pendingFrontier = g.position.frontier
	l.workers.Go(func() { l.commits <- l.persist(g) })
}

// maxBatchBytes bounds the answers that one commit publishes.
const maxBatchBytes = 8 << 20

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
	l.commitBusy = false
	if err != nil {
		switch {
		case kafka.CodeOf(err) == kafka.CodeOwnershipLost:
			l.lost = true
			l.log.Warn("the group gave the partition to another member before the lane had committed: its last records will be done again", "records", len(l.committing)+len(l.finished))
			return true, nil // losing a partition is no failure of the connector
		case l.givenUp():
			l.log.Error("the drain timeout ended before the last commit: its records will be done again", "records", len(l.committing)+len(l.finished))
			return true, nil // counted as abandoned
		default:
			return true, err
		}
	}
	l.committed = l.pendingFrontier
	l.cfg.stats.commit()
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
