package connector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// RecoveryCode says why a partition cannot be taken up where it was left. The
// set is closed.
type RecoveryCode string

const (
	// RecoveryLostOffsets: the group has no committed offset for the partition,
	// but has worked on it before.
	RecoveryLostOffsets = RecoveryCode(AcceptLostOffsets)
	// RecoveryRecreatedTopic: the topic's records are not those that were worked
	// on before.
	RecoveryRecreatedTopic = RecoveryCode(AcceptRecreatedTopic)
	// RecoveryPartitionCount: the topic has another number of partitions.
	RecoveryPartitionCount = RecoveryCode(AcceptPartitionCount)
	// RecoveryRetention: records were deleted before they were worked on.
	RecoveryRetention RecoveryCode = "retention"
)

// RecoveryError says that a partition cannot be taken up without a decision
// that only its owner can make. Nothing was called and nothing was skipped.
type RecoveryError struct {
	Code      RecoveryCode
	Topic     string
	Partition int
	Message   string // what was found, and what to do
}

// Error implements error.
func (e *RecoveryError) Error() string {
	return fmt.Sprintf("connector: %s/%d cannot be taken up: %s", e.Topic, e.Partition, e.Message)
}

// found is what is known about a partition at its assignment, read after its
// former owner was fenced.
type found struct {
	topic      string
	partition  int
	partitions int               // of the topic, now
	committed  kafka.Position    // Offset -1: none
	remembered *schemas.Position // nil: none
	log        kafka.Range
	accept     []Acceptance
}

func (f found) accepts(code RecoveryCode) bool { return slices.Contains(f.accept, Acceptance(code)) }

func (f found) refuse(code RecoveryCode, format string, args ...any) error {
	return &RecoveryError{Code: code, Topic: f.topic, Partition: f.partition, Message: fmt.Sprintf(format, args...)}
}

// position is where the lane goes on, and what an operator should know about
// that. The committed offset and the position record were written together, so
// they differ only where somebody moved or lost one of them.
func (f found) position() (p position, notice string, err error) {
	if f.remembered == nil {
		p, notice = f.fromCommitted()
	} else if p, notice, err = f.fromBoth(); err != nil {
		return position{}, "", err
	}
	switch {
	case p.frontier > f.log.End && f.accepts(RecoveryRecreatedTopic):
		return f.anew(p), "the topic was recreated, which is accepted: starting at the first retained record", nil
	case p.frontier > f.log.End:
		return position{}, "", f.refuse(RecoveryRecreatedTopic, "the log ends at %d, below the position %d: the topic was recreated or truncated. "+
			"Put %q into recovery.accept to start at its first record", f.log.End, p.frontier, AcceptRecreatedTopic)
	case p.frontier < f.log.Start:
		return position{}, "", f.refuse(RecoveryRetention, "retention has deleted everything below %d, the position is %d: records may have gone unanswered. "+
			"To go on without them, set the group's offset to %d", f.log.Start, p.frontier, f.log.Start)
	default:
		return p, notice, nil
	}
}

func (f found) fromCommitted() (position, string) {
	if f.committed.Offset < 0 {
		return position{frontier: f.log.Start, calledTo: f.log.Start}, ""
	}
	p, err := parsePosition(f.committed.Offset, f.committed.Metadata)
	if err == nil || f.committed.Metadata == "" {
		// Set by hand, and no position record: nothing was ever called here,
		// because a lane writes one before its first call.
		return p, ""
	}
	p.calledTo = max(p.frontier, f.log.End)
	return p, "the commit metadata is another tool's: every retained create and update is looked up before it is called"
}

func (f found) fromBoth() (position, string, error) {
	r, rerr := parsePosition(f.remembered.Offset, f.remembered.Metadata)
	if rerr != nil {
		r.calledTo = max(r.frontier, f.log.End)
	}
	if n := f.remembered.Partitions; n != f.partitions && !f.accepts(RecoveryPartitionCount) {
		return position{}, "", f.recounted(n)
	}
	if f.committed.Offset < 0 {
		if r.frontier > f.log.End {
			return r, "", nil // brokers forget the offsets of a topic that is deleted
		}
		if !f.accepts(RecoveryLostOffsets) {
			return position{}, "", f.refuse(RecoveryLostOffsets, "the group has lost its committed offset, but its position record says %d. "+
				"Put %q into recovery.accept to go on there", r.frontier, AcceptLostOffsets)
		}
		return r, "the committed offset is lost, which is accepted: going on at the position record", nil
	}
	c, cerr := parsePosition(f.committed.Offset, f.committed.Metadata)
	switch {
	case cerr == nil && c.seq >= r.seq:
		return c, "", nil
	case c.frontier <= r.frontier || cerr == nil:
		return r, fmt.Sprintf("the committed offset %d is not what the position record says: going on at %d, because all below has its outcome. "+
			"To answer records again, redrive them", c.frontier, r.frontier), nil
	default:
		ahead := r.movedTo(c.frontier)
		return ahead, fmt.Sprintf("the committed offset was moved from %d to %d by hand: what was not answered below is skipped", r.frontier, c.frontier), nil
	}
}

// anew is the state for a log that p does not fit to. Where it was cut and not
// made anew, its records may have been called, so they are looked for first.
func (f found) anew(p position) position {
	return position{frontier: f.log.Start, calledTo: max(f.log.Start, f.log.End), seq: p.seq}
}

// movedTo is p with a frontier that somebody moved ahead.
func (p position) movedTo(frontier int64) position {
	out := p
	out.frontier, out.calledTo, out.done = frontier, max(p.calledTo, frontier), nil
	for i := frontier - p.frontier; i < p.done.end(); i++ {
		if p.done.has(i) {
			out.done.set(i - (frontier - p.frontier))
		}
	}
	return out
}

// begin takes the partition over. It waits for the group's word that the
// partition is ours, or a process that slept through its session would fence its
// successor. Fencing comes next: only then has the former owner's last
// transaction ended, one way or the other, and what is read stays as it is.
func (l *lane) begin(ctx context.Context) error {
	f := found{topic: l.cfg.events.topics.Requests, partition: l.partition, partitions: l.cfg.partitions, accept: l.cfg.recovery.Accept}
	// Without the lease at the end, somebody else may have worked here between
	// two of the reads, and what they say together would be nobody's state.
	for done := false; !done; done = l.lease.Left() > 0 {
		if err := l.awaitLease(ctx); err != nil {
			return err
		}
		if err := l.insist(ctx,
			func() error { return l.delivery.fence(ctx) },
			func() (err error) { l.fenced = time.Now(); f.committed, err = l.src.Position(ctx); return err },
		); err != nil {
			return err
		}
		if err := l.insist(ctx, func() (err error) { f.remembered, err = l.memory.position(ctx); return err }); err != nil {
			return f.unkept(err)
		}
		// Behind the others: what they say is below the log's end by now.
		if err := l.insist(ctx, func() (err error) { f.log, err = l.src.Range(ctx); return err }); err != nil {
			return err
		}
	}
	return l.insist(ctx,
		func() error { return f.strange(ctx, l.memory) },
		func() error { return l.takeUp(ctx, f) },
		func() error { return l.ledger.restore(ctx, l.memory, l.fenced) },
	)
}

// unkept explains that the topics of our own have no such partition.
func (f found) unkept(err error) error {
	if kafka.CodeOf(err) != kafka.CodeUnknownTopic {
		return err
	}
	return errors.Join(f.refuse(RecoveryPartitionCount, "the requests have %d partitions, and the positions topic is gone or has fewer. "+
		"Give the ledger and positions topics as many", f.partitions), err)
}

// strange refuses a partition that nobody has worked on where others of the
// topic say that they were fewer: records of its keys may wait in those.
func (f found) strange(ctx context.Context, m memory) error {
	if f.remembered != nil || f.committed.Offset >= 0 || f.accepts(RecoveryPartitionCount) {
		return nil
	}
	n, err := m.otherCount(ctx, f.partitions)
	if err != nil || n == 0 {
		return err
	}
	return f.recounted(n)
}

func (f found) recounted(was int) error {
	return f.refuse(RecoveryPartitionCount, "the topic had %d partitions and has %d now: records of a key may stand in another partition than before, "+
		"where they are neither in order nor known as duplicates. Give the ledger and positions topics as many, let the old records be answered, and put %q into recovery.accept",
		was, f.partitions, AcceptPartitionCount)
}

func (l *lane) awaitLease(ctx context.Context) error {
	for l.lease.Left() <= 0 {
		if !sleep(ctx, leaseWatch) {
			return ctx.Err()
		}
	}
	return nil
}

// insist takes steps, and repeats one while the brokers are away or do not know a
// topic yet: a lane that begins has nothing better to do.
func (l *lane) insist(ctx context.Context, steps ...func() error) error {
	for _, step := range steps {
		delay := persistBase
		var gone absence
		watched := func() error {
			l.vitals.begin(stepTakeOver)
			err := gone.excuse(step())
			l.vitals.end(stepTakeOver, err)
			return err
		}
		for err := watched(); err != nil; err = watched() {
			if !awayOrRefuses(err) {
				return fmt.Errorf("partition %d: %w", l.partition, err)
			}
			l.trouble.Warn("waiting for the brokers to tell what was done before", "error", err)
			if !sleep(ctx, delay) {
				return fmt.Errorf("partition %d: %w", l.partition, err)
			}
			if kafka.Refused(err) { // it comes at once, where others have taken their time
				delay = min(2*delay, persistCap)
			}
		}
	}
	return nil
}

// takeUp makes the lane go on where the partition was left.
func (l *lane) takeUp(ctx context.Context, f found) error {
	p, notice, err := f.position()
	if lost, ok := errors.AsType[*RecoveryError](err); ok && lost.Code == RecoveryLostOffsets {
		p, notice, err = l.recogniseLost(ctx, f, lost)
	} else if err == nil {
		p, notice, err = l.recognise(ctx, f, p, notice)
	}
	if err != nil {
		return err
	}
	if notice != "" {
		l.log.Warn("the position is not as it was left", "finding", notice)
	}
	// What was found or accepted is written down at once, or it would be found
	// again.
	l.unwritten = notice != "" || f.remembered != nil && f.remembered.Partitions != f.partitions
	if f.committed.Offset < 0 {
		if err := l.delivery.anchor(ctx, kafka.Position{Offset: p.frontier, Metadata: p.metadata()}); err != nil {
			return err
		}
	}
	l.start, l.seq, l.calledTo = p, p.seq, p.calledTo
	// Nobody can have called a record that the log did not have when its last
	// reader was fenced.
	l.start.calledTo = min(p.calledTo, f.log.End)
	l.committed, l.resume, l.end = f.committed.Offset, p.frontier, p.frontier
	l.window = newWindow(p.frontier, l.cfg.window.Span)
	l.window.last = l.lastTrace
	l.lastCommit = l.fenced
	return nil
}

// recogniseLost tells offsets that were lost from those that brokers forgot
// because the topic was deleted: the second is the finding, and accepting it
// accepts the first.
func (l *lane) recogniseLost(ctx context.Context, f found, lost *RecoveryError) (position, string, error) {
	was, err := parsePosition(f.remembered.Offset, f.remembered.Metadata)
	if err != nil {
		return position{}, "", lost
	}
	p, notice, err := l.recognise(ctx, f, was, "")
	if err == nil && notice == "" {
		err = lost
	}
	return p, notice, err
}
