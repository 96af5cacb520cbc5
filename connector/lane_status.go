package connector

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

const (
	// surveyEvery is how old what a walk through the window found may be. A host
	// asks for a status several times a second, and a window may hold thousands.
	surveyEvery = time.Second
	// stuckAfter is how long the first record of a key is held before it counts
	// as stuck.
	stuckAfter = 5 * time.Second
	// maxStuckKeys bounds what a status says of one lane.
	maxStuckKeys = 5
)

// survey is what only a walk through the window can tell.
type survey struct {
	at     time.Time
	expiry time.Time // of what expires first; zero: nothing is held without an outcome
	stuck  []Stuck
}

// look walks through the window if the last walk is too old.
func (s *survey) look(w *window, now time.Time) {
	if !s.at.IsZero() && now.Sub(s.at) < surveyEvery {
		return
	}
	*s = survey{at: now}
	for _, e := range w.entries[w.head:] {
		if e.acct == nil || e.state >= entryDone {
			continue
		}
		if d := deadline(e); s.expiry.IsZero() || d.Before(s.expiry) {
			s.expiry = d
		}
		if e.firstKey && len(s.stuck) < maxStuckKeys && now.Sub(e.received) > stuckAfter {
			s.stuck = append(s.stuck, stuck(e))
		}
	}
}

func stuck(e *entry) Stuck {
	sum := sha256.Sum256([]byte(e.key))
	return Stuck{Offset: e.rec.Offset, Key: hex.EncodeToString(sum[:6]), Since: e.entered, Why: e.why}
}

// status is the lane's part of a Status.
func (l *lane) status() LaneStatus {
	now := time.Now()
	s := LaneStatus{
		Partition: l.partition, Committed: l.committed, Fetched: l.resume, End: l.end,
		Window: l.window.held, InFlight: l.inFlight, Waiting: l.timers.len(),
		Lag: max(0, l.end-l.window.frontier()), Unstable: l.unstable, Span: l.window.next - l.window.frontier(),
		Uncertain: l.doubts, Paused: l.pauses(now), Lease: max(0, l.lease.Left()).Seconds(),
	}
	l.survey.look(l.window, now)
	if !l.survey.expiry.IsZero() {
		left := l.survey.expiry.Sub(now).Seconds()
		s.ExpiresIn = &left
	}
	s.StuckKeys = l.survey.stuck
	if e := l.window.oldest(); e != nil {
		oldest := stuck(e)
		s.Stuck, s.OldestAge = &oldest, max(0, now.Sub(e.rec.Timestamp)).Seconds()
	}
	return s
}

// pauses says why nothing is taken in or called.
func (l *lane) pauses(now time.Time) []Pause {
	var out []Pause
	for _, p := range []struct {
		why   Pause
		holds bool
	}{
		{PauseWindow, !l.window.fits(l.resume)},
		{PauseBudget, l.crowded},
		{PauseLedger, l.ledger.full()},
		{PauseAccount, l.accountsHoldUp()},
		{PauseLease, l.lease.Left() <= 0},
		{PauseCommit, l.stalled(now)},
	} {
		if p.holds {
			out = append(out, p.why)
		}
	}
	return out
}
