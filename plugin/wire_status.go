package plugin

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin/pluginpb"
)

var wireStates = map[connector.State]pluginpb.State{
	connector.StateNew:        pluginpb.State_STATE_NEW,
	connector.StateConfigured: pluginpb.State_STATE_CONFIGURED,
	connector.StateRunning:    pluginpb.State_STATE_RUNNING,
	connector.StateDraining:   pluginpb.State_STATE_DRAINING,
	connector.StateStopped:    pluginpb.State_STATE_STOPPED,
	connector.StateFailed:     pluginpb.State_STATE_FAILED,
}

// stateFromPB gives "" for a state that this side does not know.
func stateFromPB(s pluginpb.State) connector.State {
	for state, pb := range wireStates {
		if pb == s {
			return state
		}
	}
	return ""
}

func statusToPB(s connector.Status) *pluginpb.Status {
	out := &pluginpb.Status{
		State:    wireStates[s.State],
		Ready:    s.Ready,
		Reason:   valid(s.Reason),
		InFlight: int64(s.InFlight),
		Counters: countersToPB(s.Counters),
		Latency:  &pluginpb.Latency{P50: s.Latency.P50, P99: s.Latency.P99},
	}
	for _, l := range s.Lanes {
		out.Lanes = append(out.Lanes, laneToPB(l))
	}
	for _, a := range s.Accounts {
		out.Accounts = append(out.Accounts, &pluginpb.Account{
			Name: valid(a.Name), Breaker: a.Breaker, Blocked: a.Blocked, PerSecond: a.PerSecond, Penalty: a.Penalty,
			Share: a.Share, InFlight: int64(a.InFlight), Waiting: int64(a.Waiting),
		})
	}
	return out
}

func statusFromPB(s *pluginpb.Status) connector.Status {
	out := connector.Status{
		State:    stateFromPB(s.GetState()),
		Ready:    s.GetReady(),
		Reason:   s.GetReason(),
		InFlight: int(s.GetInFlight()),
		Counters: countersFromPB(s.GetCounters()),
		Latency:  connector.Latency{P50: s.GetLatency().GetP50(), P99: s.GetLatency().GetP99()},
	}
	for _, l := range s.GetLanes() {
		out.Lanes = append(out.Lanes, laneFromPB(l))
	}
	for _, a := range s.GetAccounts() {
		out.Accounts = append(out.Accounts, connector.AccountStatus{
			Name: a.GetName(), Breaker: a.GetBreaker(), Blocked: a.GetBlocked(), PerSecond: a.GetPerSecond(), Penalty: a.GetPenalty(),
			Share: a.GetShare(), InFlight: int(a.GetInFlight()), Waiting: int(a.GetWaiting()),
		})
	}
	return out
}

func laneToPB(l connector.LaneStatus) *pluginpb.Lane {
	out := &pluginpb.Lane{
		Partition: int64(l.Partition),
		Committed: l.Committed,
		Fetched:   l.Fetched,
		End:       l.End,
		Window:    int64(l.Window),
		InFlight:  int64(l.InFlight),
		Waiting:   int64(l.Waiting),
		Lag:       l.Lag,
		Unstable:  l.Unstable,
		Span:      l.Span,
		Uncertain: int64(l.Uncertain),
		ExpiresIn: l.ExpiresIn,
		OldestAge: l.OldestAge,
		Lease:     l.Lease,
	}
	for _, p := range l.Paused {
		out.Paused = append(out.Paused, valid(string(p)))
	}
	if l.Stuck != nil {
		out.Stuck = stuckToPB(*l.Stuck)
	}
	for _, s := range l.StuckKeys {
		out.StuckKeys = append(out.StuckKeys, stuckToPB(s))
	}
	return out
}

func stuckToPB(s connector.Stuck) *pluginpb.Stuck {
	return &pluginpb.Stuck{Offset: s.Offset, Key: valid(s.Key), Since: timestamppb.New(s.Since), Why: valid(s.Why)}
}

func stuckFromPB(s *pluginpb.Stuck) connector.Stuck {
	return connector.Stuck{Offset: s.GetOffset(), Key: s.GetKey(), Since: s.GetSince().AsTime(), Why: s.GetWhy()}
}

func laneFromPB(l *pluginpb.Lane) connector.LaneStatus {
	out := connector.LaneStatus{
		Partition: int(l.GetPartition()),
		Committed: l.GetCommitted(),
		Fetched:   l.GetFetched(),
		End:       l.GetEnd(),
		Window:    int(l.GetWindow()),
		InFlight:  int(l.GetInFlight()),
		Waiting:   int(l.GetWaiting()),
		Lag:       l.GetLag(),
		Unstable:  l.GetUnstable(),
		Span:      l.GetSpan(),
		Uncertain: int(l.GetUncertain()),
		OldestAge: l.GetOldestAge(),
		Lease:     l.GetLease(),
	}
	if l.ExpiresIn != nil {
		left := l.GetExpiresIn()
		out.ExpiresIn = &left
	}
	for _, p := range l.GetPaused() {
		out.Paused = append(out.Paused, connector.Pause(p))
	}
	if s := l.GetStuck(); s != nil {
		known := stuckFromPB(s)
		out.Stuck = &known
	}
	for _, s := range l.GetStuckKeys() {
		out.StuckKeys = append(out.StuckKeys, stuckFromPB(s))
	}
	return out
}

func countersToPB(c connector.Counters) *pluginpb.Counters {
	return &pluginpb.Counters{
		Records:      c.Records,
		Outcomes:     c.Outcomes,
		DeadLetters:  c.DeadLetters,
		Calls:        c.Calls,
		Retries:      c.Retries,
		Commits:      c.Commits,
		Rebalances:   c.Rebalances,
		BreakerOpens: c.BreakerOpens,
	}
}

func countersFromPB(c *pluginpb.Counters) connector.Counters {
	return connector.Counters{
		Records:      c.GetRecords(),
		Outcomes:     c.GetOutcomes(),
		DeadLetters:  c.GetDeadLetters(),
		Calls:        c.GetCalls(),
		Retries:      c.GetRetries(),
		Commits:      c.GetCommits(),
		Rebalances:   c.GetRebalances(),
		BreakerOpens: c.GetBreakerOpens(),
	}
}

// durationToPB leaves zero unset.
func durationToPB(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

// durationFromPB takes unset, zero and negative for "use the default".
func durationFromPB(d *durationpb.Duration, unset time.Duration) time.Duration {
	if v := d.AsDuration(); v > 0 {
		return v
	}
	return unset
}
