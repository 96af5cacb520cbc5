package connector

import (
	"slices"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// simPlace is where a record of the requests stands.
type simPlace struct {
	part   int
	offset int64
}

// simState is what became of something that a transaction wrote.
type simState uint8

const (
	simOpen simState = iota
	simCommitted
	simAborted
)

// simSlotKind tells a data record from what only takes an offset.
type simLogged struct {
	rec      *simRecord   // nil: a control record, or a record that compaction took
	upstream *simUpstream // nil: written without a transaction
}

// simUpstream is a transaction of those who write requests.
type simUpstream struct{ state simState }

// simEntry is a record of one of the topics that lanes write.
type simEntry struct {
	msg   kafka.Message
	state simState
	by    string
}

// simTxn is an open transaction of a lane.
type simTxn struct {
	no      int
	entries []*simEntry
	pos     *kafka.Position
	since   time.Time
}

// simPart is one partition of the requests, with what its lanes write.
type simPart struct {
	log       []simLogged
	arrived   chan struct{} // closed and replaced when something became readable
	committed kafka.Position
	ledger    []*simEntry
	positions []*simEntry

	// The transaction coordinator's part of it.
	epoch    int
	ownBump  bool // the last change of the epoch was by the producer itself
	txn      *simTxn
	lastDone int // number of the last transaction that ended in this epoch
	lastKept bool
}

// simBroker is the logs. mu of the sim guards it.
type simBroker struct {
	w       *sim
	parts   []*simPart
	results []*simEntry
	dead    []*simEntry
}

func newSimBroker(w *sim) *simBroker {
	b := &simBroker{w: w}
	for range w.plan.partitions {
		b.parts = append(b.parts, &simPart{arrived: make(chan struct{}), committed: kafka.Position{Offset: -1}})
	}
	return b
}

// stable is the last stable offset.
func (p *simPart) stable() int64 {
	for i, l := range p.log {
		if l.upstream != nil && l.upstream.state == simOpen {
			return int64(i)
		}
	}
	return int64(len(p.log))
}

func (p *simPart) wake() {
	close(p.arrived)
	p.arrived = make(chan struct{})
}

// read is what a read_committed fetch finds from offset on.
func (p *simPart) read(offset int64, maxBytes int) kafka.Fetched {
	end := p.stable()
	f := kafka.Fetched{Next: offset, LastStable: end}
	size := 0
	for ; f.Next < end && (size == 0 || size < maxBytes); f.Next++ {
		l := p.log[f.Next]
		if l.rec != nil && (l.upstream == nil || l.upstream.state == simCommitted) {
			f.Records = append(f.Records, l.rec.record())
			size += len(l.rec.value)
		}
	}
	return f
}

// log is where a message goes.
func (b *simBroker) file(e *simEntry, part int) {
	switch e.msg.Topic {
	case "results":
		b.results = append(b.results, e)
	case "deadletters":
		b.dead = append(b.dead, e)
	case "ledger":
		b.own(e, part)
		b.parts[part].ledger = append(b.parts[part].ledger, e)
	case "positions":
		b.own(e, part)
		b.parts[part].positions = append(b.parts[part].positions, e)
	default:
		b.w.violate("a message for the topic %q", e.msg.Topic)
	}
}

func (b *simBroker) own(e *simEntry, part int) {
	if e.msg.Partition == nil || *e.msg.Partition != part {
		b.w.violate("lane %d writes a record of %s to partition %v", part, e.msg.Topic, e.msg.Partition)
	}
}

// init gives a new epoch to whoever asks without saying who he is, which ends
// what his predecessor has under way.
func (b *simBroker) fence(part int) int {
	p := b.parts[part]
	b.drop(p)
	p.epoch++
	p.ownBump = false
	return p.epoch
}

// renew gives the producer of an epoch the next one. Asked again because its
// answer was lost, it answers the same.
func (b *simBroker) renew(part, epoch int) (int, error) {
	p := b.parts[part]
	switch {
	case p.epoch == epoch:
		b.drop(p)
		p.epoch++
		p.ownBump = true
		return p.epoch, nil
	case p.epoch == epoch+1 && p.ownBump:
		return p.epoch, nil
	default:
		return 0, errSimFenced
	}
}

// drop aborts what is open.
func (b *simBroker) drop(p *simPart) {
	if p.txn == nil {
		return
	}
	for _, e := range p.txn.entries {
		e.state = simAborted
	}
	p.txn = nil
	b.w.saw("transaction aborted by its successor or its time")
}

func (b *simBroker) begin(part, epoch, no int) error {
	p := b.parts[part]
	if p.epoch != epoch {
		return errSimFenced
	}
	if p.txn != nil && p.txn.no != no {
		return errSimBusy
	}
	if p.txn == nil && p.lastDone != no {
		p.txn = &simTxn{no: no, since: time.Now()}
	}
	return nil
}

// open is the transaction that a step belongs to.
func (b *simBroker) open(part, epoch, no int) (*simTxn, error) {
	p := b.parts[part]
	if p.epoch != epoch {
		return nil, errSimFenced
	}
	if p.txn == nil || p.txn.no != no {
		return nil, errSimBusy
	}
	return p.txn, nil
}

func (b *simBroker) write(part, epoch, no int, msgs []kafka.Message, by string) error {
	txn, err := b.open(part, epoch, no)
	if err != nil || len(txn.entries) > 0 {
		return err // a repeated batch is dropped by its sequence number
	}
	for _, m := range msgs {
		e := &simEntry{msg: m, by: by}
		txn.entries = append(txn.entries, e)
		b.file(e, part)
	}
	return nil
}

func (b *simBroker) offsets(part, epoch, no int, s *simSession, pos kafka.Position) error {
	txn, err := b.open(part, epoch, no)
	if err != nil {
		return err
	}
	if err := b.w.group.validate(s.member, s.generation); err != nil {
		b.w.saw("stale generation refused in a transaction")
		return err
	}
	txn.pos = &pos
	return nil
}

func (b *simBroker) end(part, epoch, no int, commit bool) error {
	p := b.parts[part]
	if p.epoch != epoch {
		if commit {
			b.w.saw("late commit refused")
			b.w.note("  commit %d of epoch %d refused, the epoch is %d", no, epoch, p.epoch)
		}
		return errSimFenced
	}
	if p.txn == nil || p.txn.no != no {
		if p.lastDone == no && p.lastKept == commit {
			return nil // asked again
		}
		return errSimBusy
	}
	state := simAborted
	if commit {
		state = simCommitted
		b.committed(part, *p.txn.pos)
	}
	for _, e := range p.txn.entries {
		e.state = state
	}
	p.txn, p.lastDone, p.lastKept = nil, no, commit
	return nil
}

// committed takes a committed offset over.
func (b *simBroker) committed(part int, pos kafka.Position) {
	p := b.parts[part]
	if pos.Offset < p.committed.Offset && b.w.plan.exactlyOnce { // without a transaction, a late commit may rewind
		b.w.violate("partition %d: the committed offset goes back from %d to %d", part, p.committed.Offset, pos.Offset)
	}
	p.committed = pos
	b.w.note("  committed %d/%d", part, pos.Offset)
}

// expire ends the transactions that have taken too long, and their producers
// with them.
func (b *simBroker) expire(now time.Time) {
	for i, p := range b.parts {
		if p.txn != nil && now.Sub(p.txn.since) > b.w.plan.transaction {
			b.drop(p)
			p.epoch++
			p.ownBump = false
			b.w.note("  transaction of partition %d timed out", i)
			b.w.saw("transaction timed out")
		}
	}
}

// lastPosition is the newest committed position record.
func (p *simPart) lastPosition() (*schemas.Position, error) {
	for _, record := range slices.Backward(p.positions) {
		if record.state == simCommitted {
			return schemas.DecodePosition(record.msg.Value)
		}
	}
	return nil, nil //nolint:nilnil // as memory.position says it
}

// covered reports whether something durable says that the record may be called.
func (p *simPart) covered(offset int64) bool {
	if pos, err := parsePosition(p.committed.Offset, p.committed.Metadata); err == nil && !pos.has(offset) && offset < pos.calledTo {
		return true
	}
	r, err := p.lastPosition()
	if err != nil || r == nil {
		return false
	}
	pos, err := parsePosition(r.Offset, r.Metadata)
	return err == nil && !pos.has(offset) && offset < pos.calledTo
}
