package connector

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// simCall is a request to the brokers: it may get lost, its answer may, it may
// arrive late or at a process that has died meanwhile, and a process may die at
// it. apply runs at the broker, with mu held. errSimLost says that there was no
// answer, errSimEnded that the caller has gone.
func simCall[T any](ctx context.Context, w *sim, p *simProc, what string, apply func() (T, error)) (T, error) {
	type end struct {
		value T
		err   error
	}
	gone := end{err: errSimEnded}
	if !p.gate() {
		return gone.value, gone.err
	}
	key := what + " " + p.name
	there := w.between(300*time.Microsecond, 6*time.Millisecond, "there "+key)
	back := w.between(300*time.Microsecond, 6*time.Millisecond, "back "+key)
	rate := w.plan.broker
	w.mu.Lock()
	lost, mute := p.cut, false
	there += w.heldBack(what)
	w.mu.Unlock()
	if w.fails(rate, "fate "+key) {
		switch w.below(4, "which fate "+key) {
		case 0:
			lost = true
		case 1:
			mute = true
		case 2:
			there = w.between(simRPC/2, 7*time.Second, "late "+key)
		case 3:
			there = w.between(20*time.Millisecond, simRPC, "slow "+key)
		}
	}
	if w.fails(w.plan.crash, "crash "+key) {
		w.after(w.between(0, there+back+time.Millisecond, "crash at "+key), func() { w.locked(func() { p.kill("at " + what) }) })
	}
	answer := make(chan end, 1)
	if !lost {
		w.after(there, func() {
			var e end
			w.locked(func() { e.value, e.err = apply() })
			if !mute {
				w.after(back, func() { answer <- e })
			}
		})
	}
	limit := time.NewTimer(simRPC)
	defer limit.Stop()
	var e end
	select {
	case e = <-answer:
	case <-limit.C:
		e.err = errSimLost
	case <-ctx.Done():
		e = gone
	case <-p.died:
		return gone.value, gone.err
	}
	if !p.gate() {
		e = gone
	}
	return e.value, e.err
}

// rpc is simCall for a request whose answer says nothing but how it ended.
func (w *sim) rpc(ctx context.Context, p *simProc, what string, apply func() error) error {
	_, err := simCall(ctx, w, p, what, func() (struct{}, error) { return struct{}{}, apply() })
	return err
}

// simSession is one partition in one generation of one member: what a
// kafka.Session is to a lane.
type simSession struct {
	w          *sim
	p          *simProc
	part       int
	generation int
	member     string

	fenced bool // Fence has succeeded
	over   bool
	unsure bool // the producer has to be renewed before it goes on
	epoch  int
	no     int // of the transaction

	// Without transactions, what the brokers get of a session they take in its
	// order: a request that comes behind a later one is not taken.
	asked, taken int
}

func (p *simProc) deps(part int, a simAssignment, l *simLease) laneDeps {
	s := &simSession{w: p.w, p: p, part: part, generation: a.generation, member: a.member}
	d := laneDeps{source: s, memory: s, lease: l, ledger: p.ledgers[part]}
	if d.delivery = (exactlyOnce{session: s, log: p.cfg.log}); !p.w.plan.exactlyOnce {
		d.delivery = atLeastOnce{sink: s, log: p.cfg.log}
	}
	return d
}

func (s *simSession) at() string { return " " + strconv.Itoa(s.part) }

// simAsk repeats a request until it is answered or ctx ends.
func simAsk[T any](ctx context.Context, s *simSession, what string, apply func() (T, error)) (T, error) {
	for {
		value, err := simCall(ctx, s.w, s.p, what+s.at(), apply)
		if !errors.Is(err, errSimLost) {
			return value, err
		}
		if !s.w.rest(ctx, s.w.between(30*time.Millisecond, 200*time.Millisecond, "again "+what+s.p.name)) {
			return value, errSimEnded
		}
	}
}

func (s *simSession) Fence(ctx context.Context) error {
	epoch, err := simAsk(ctx, s, "fence", func() (int, error) {
		epoch := s.w.broker.fence(s.part)
		s.w.note("%s fences %d: epoch %d", s.p.name, s.part, epoch)
		return epoch, nil
	})
	s.fenced, s.epoch = err == nil, epoch
	return err
}

func (s *simSession) Position(ctx context.Context) (kafka.Position, error) {
	if s.w.plan.exactlyOnce && !s.fenced {
		s.w.locked(func() { s.w.violate("%s reads the offset of %d before it has fenced", s.p.name, s.part) })
	}
	return simAsk(ctx, s, "position", func() (kafka.Position, error) {
		pos := s.w.broker.parts[s.part].committed
		if p, err := parsePosition(pos.Offset, pos.Metadata); err == nil {
			s.w.note("%s finds %d at %d, called_to %d, left %v", s.p.name, s.part, p.frontier, p.calledTo, p.left)
			if p.left != nil && len(p.left.list) > 0 {
				s.w.saw("handover with records left in doubt")
			}
			if p.left == nil && p.calledTo > p.frontier {
				s.w.saw("takeover after a crash")
			}
		}
		return pos, nil
	})
}

func (s *simSession) Range(ctx context.Context) (kafka.Range, error) {
	return simAsk(ctx, s, "range", func() (kafka.Range, error) {
		return kafka.Range{End: int64(len(s.w.broker.parts[s.part].log))}, nil
	})
}

func (s *simSession) Fetch(ctx context.Context, offset int64, maxBytes int, maxWait time.Duration) (kafka.Fetched, error) {
	type found struct {
		kafka.Fetched
		arrived chan struct{}
	}
	wait := time.After(maxWait)
	for {
		f, err := simCall(ctx, s.w, s.p, "fetch"+s.at(), func() (found, error) {
			part := s.w.broker.parts[s.part]
			return found{part.read(offset, maxBytes), part.arrived}, nil
		})
		if err != nil || f.Next > offset || maxWait == 0 {
			return f.Fetched, err
		}
		select {
		case <-f.arrived:
		case <-wait:
			return f.Fetched, nil
		case <-ctx.Done():
			return f.Fetched, errSimEnded
		case <-s.p.died:
			return f.Fetched, errSimEnded
		}
	}
}

// poisoned are the messages that the brokers refuse for good: by their content,
// so again and again, and never a substitute.
func (s *simSession) poisoned(msgs []kafka.Message) error {
	p := &kafka.PoisonError{Err: &kafka.Error{Code: kafka.CodeTooLarge, Op: "sim", Err: errSim("too large")}}
	for i, m := range msgs {
		if m.Key != nil && m.Partition == nil && strings.Contains(string(m.Value), "poison") && !strings.Contains(string(m.Value), `"list"`) {
			p.Indexes = append(p.Indexes, i)
		}
	}
	if len(p.Indexes) == 0 {
		return nil
	}
	s.w.locked(func() { s.w.saw("poison") })
	return p
}

// written is msgs as they go over the wire: what becomes of them in the memory
// of their sender is nothing to them.
func written(msgs []kafka.Message) []kafka.Message {
	out := slices.Clone(msgs)
	for i := range out {
		if p := out[i].Partition; p != nil {
			part := *p
			out[i].Partition = &part
		}
	}
	return out
}

func (s *simSession) Transact(ctx context.Context, msgs []kafka.Message, pos kafka.Position) error {
	b := s.w.broker
	msgs = written(msgs)
	switch {
	case s.over:
		return errSimFenced
	case !s.fenced:
		s.w.locked(func() { s.w.violate("a transaction of %s without a fence before it", s.p.name) })
	}
	if s.unsure {
		if err := s.renew(ctx); err != nil {
			return err
		}
	}
	s.no++
	no, epoch := s.no, s.epoch
	refused := s.poisoned(msgs)
	steps := []struct {
		name  string
		apply func() error
	}{
		{"begin", func() error { return b.begin(s.part, epoch, no) }},
		{"write", func() error { return b.write(s.part, epoch, no, msgs, s.p.name) }},
		{"offsets", func() error { return b.offsets(s.part, epoch, no, s, pos) }},
	}
	if refused != nil {
		steps = steps[:1]
	}
	for _, step := range steps {
		err := s.w.rpc(ctx, s.p, step.name+s.at(), step.apply)
		if err == nil {
			continue
		}
		if kafka.CodeOf(err) == kafka.CodeFenced {
			return s.fencedNow(step.name)
		}
		s.unsure = true
		if ctx.Err() == nil {
			_ = s.w.rpc(ctx, s.p, "abort"+s.at(), func() error { return b.end(s.part, epoch, no, false) })
		}
		return err
	}
	if refused != nil {
		s.unsure = true
		return refused
	}
	return s.finish(ctx, no, epoch, pos)
}

// fencedNow ends the session.
func (s *simSession) fencedNow(step string) error {
	s.over = true
	s.w.locked(func() {
		s.w.saw("fenced")
		s.w.note("%s is fenced from %d at %s", s.p.name, s.part, step)
	})
	return errSimFenced
}

// finish commits, and finds out what became of a commit without an answer.
func (s *simSession) finish(ctx context.Context, no, epoch int, pos kafka.Position) error {
	for range 2 {
		err := s.w.rpc(ctx, s.p, "end"+s.at(), func() error { return s.w.broker.end(s.part, epoch, no, true) })
		switch {
		case err == nil:
			return nil
		case kafka.CodeOf(err) == kafka.CodeFenced:
			return s.fencedNow("end")
		case kafka.CodeOf(err) == kafka.CodeCanceled:
			return err
		}
		s.unsure = true
	}
	if err := s.renew(ctx); err != nil {
		return err
	}
	now, err := simAsk(ctx, s, "compare", func() (kafka.Position, error) { return s.w.broker.parts[s.part].committed, nil })
	if err != nil {
		return err
	}
	if now == pos {
		s.w.locked(func() { s.w.saw("commit without an answer had been made") })
		return nil
	}
	s.w.locked(func() { s.w.saw("commit without an answer had not been made") })
	return errSimLost
}

// renew gives the producer a new epoch of its own.
func (s *simSession) renew(ctx context.Context) error {
	epoch := s.epoch
	next, err := simAsk(ctx, s, "renew", func() (int, error) { return s.w.broker.renew(s.part, epoch) })
	if kafka.CodeOf(err) == kafka.CodeFenced {
		return s.fencedNow("renew")
	}
	if err == nil {
		s.epoch, s.unsure = next, false
	}
	return err
}

// Produce is the idempotent producer of a session without transactions.
func (s *simSession) Produce(ctx context.Context, msgs []kafka.Message) error {
	msgs = written(msgs)
	refused := s.poisoned(msgs)
	bad := map[int]bool{}
	if p, ok := refused.(*kafka.PoisonError); ok { //nolint:errorlint // made right here
		for _, i := range p.Indexes {
			bad[i] = true
		}
	}
	// What is left out goes to other partitions than what is written: to another
	// topic, or by its key.
	half := len(msgs) > 1 && s.w.fails(s.w.plan.broker/2, "half "+s.p.name)
	left := func(m kafka.Message) bool { return half && (len(m.Key) == 0 || m.Key[len(m.Key)-1]%2 == 1) }
	inTurn := s.inTurn()
	err := s.w.rpc(ctx, s.p, "produce"+s.at(), func() error {
		if !inTurn() {
			return errSimLost
		}
		for i, m := range msgs {
			if !bad[i] && !left(m) {
				s.w.broker.file(&simEntry{msg: m, state: simCommitted, by: s.p.name}, s.part)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case refused != nil && !half:
		return refused
	case half:
		e := &kafka.UnwrittenError{Err: errSimLost}
		for i, m := range msgs {
			if bad[i] || left(m) {
				e.Indexes = append(e.Indexes, i)
			}
		}
		if len(e.Indexes) > 0 {
			return e
		}
	}
	return nil
}

// inTurn gives the next request its number, and tells the broker whether it has
// taken a later one.
func (s *simSession) inTurn() func() bool {
	s.asked++
	no := s.asked
	return func() bool {
		if no < s.taken {
			s.w.saw("late request behind a later one")
			return false
		}
		s.taken = no
		return true
	}
}

func (s *simSession) Commit(ctx context.Context, pos kafka.Position) error {
	inTurn := s.inTurn()
	return s.w.rpc(ctx, s.p, "commit"+s.at(), func() error {
		if !inTurn() {
			return errSimLost
		}
		if err := s.w.group.validate(s.member, s.generation); err != nil {
			s.w.saw("stale generation refused in a commit")
			return err
		}
		s.w.broker.committed(s.part, pos)
		return nil
	})
}

func (s *simSession) position(ctx context.Context) (*schemas.Position, error) {
	return simAsk(ctx, s, "remember", s.w.broker.parts[s.part].lastPosition)
}

func (s *simSession) otherCount(context.Context, int) (int, error) { return 0, nil }

func (s *simSession) ledger(ctx context.Context, from int64, horizon time.Time, each func(schemas.LedgerEntry)) (int64, error) {
	found, err := simAsk(ctx, s, "ledger", func() ([]*simEntry, error) {
		return append([]*simEntry(nil), s.w.broker.parts[s.part].ledger...), nil
	})
	if err != nil {
		return from, err
	}
	for _, e := range found[max(0, from):] {
		entry, err := schemas.DecodeLedgerEntry(e.msg.Value)
		if err != nil {
			return from, err
		}
		if e.state == simCommitted && !entry.At.Before(horizon) {
			each(*entry)
		}
	}
	return int64(len(found)), nil
}
