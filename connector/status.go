package connector

import "time"

// State is where a Connector is in its life.
type State string

// The states, in the order in which they follow each other; Failed may follow any.
const (
	StateNew        State = "new"
	StateConfigured State = "configured"
	StateRunning    State = "running"
	StateDraining   State = "draining"
	StateStopped    State = "stopped"
	StateFailed     State = "failed"
)

// Status is a snapshot of a Connector: cheap to take, safe to keep. It holds no
// identities, keys or payloads in clear.
type Status struct {
	State State `json:"state"`
	// Ready is true while progress is possible: the group is joined and no
	// account is refused for its credentials. Reason says why not.
	Ready    bool            `json:"ready"`
	Reason   string          `json:"reason,omitempty"`
	InFlight int             `json:"in_flight"` // calls under way
	Lanes    []LaneStatus    `json:"lanes"`
	Accounts []AccountStatus `json:"accounts"`
	Counters Counters        `json:"counters"`
	Latency  Latency         `json:"latency"`
}

// LaneStatus is one owned partition.
type LaneStatus struct {
	Partition int   `json:"partition"`
	Committed int64 `json:"committed"` // next offset of the last commit; -1 before the first
	Fetched   int64 `json:"fetched"`   // next offset to fetch
	End       int64 `json:"end"`       // last stable offset seen
	Window    int   `json:"window"`    // records held
	InFlight  int   `json:"in_flight"`
	Waiting   int   `json:"waiting"` // for a retry, a breaker or a deadline
	// Lag is how many offsets of what can be read are not committed.
	Lag int64 `json:"lag"`
	// Unstable is how many offsets above End an open transaction held back at the
	// last fetch.
	Unstable  int64 `json:"unstable"`
	Span      int64 `json:"span"`      // offsets from the first unfinished record to the last one taken in
	Uncertain int   `json:"uncertain"` // records that are looked for at the API
	// ExpiresIn is the least time left, in seconds, of what is held without an
	// outcome: below zero where that is late already, nil while nothing is held.
	// It is up to a second old.
	ExpiresIn *float64 `json:"expires_in,omitempty"`
	OldestAge float64  `json:"oldest_age"` // seconds since the timestamp of the oldest unfinished record; zero: none
	// Paused says why nothing is taken in or called. Nil: it is not.
	Paused []Pause `json:"paused,omitempty"`
	Lease  float64 `json:"lease"` // seconds for which calls are allowed without hearing from the group
	// Stuck describes the oldest unfinished record.
	Stuck *Stuck `json:"stuck,omitempty"`
	// StuckKeys are the oldest records, one of each key and five at the most,
	// that have been held for more than a few seconds. They are up to a second old.
	StuckKeys []Stuck `json:"stuck_keys,omitempty"`
}

// Pause is a reason for which a lane takes nothing in or calls nothing.
type Pause string

// The first four pause intake, the others calls.
const (
	PauseWindow  Pause = "window"  // its span is full
	PauseBudget  Pause = "budget"  // all lanes together hold as much as they may
	PauseLedger  Pause = "ledger"  // no more ids can be remembered
	PauseAccount Pause = "account" // what a blocked account holds is its share already
	PauseLease   Pause = "lease"   // the group has not confirmed the partition lately
	PauseCommit  Pause = "commit"  // outcomes do not get committed
)

// Stuck says what holds a lane's position back.
type Stuck struct {
	Offset int64     `json:"offset"`
	Key    string    `json:"key"` // hashed
	Since  time.Time `json:"since"`
	Why    string    `json:"why"`
}

// AccountStatus is one account's breaker and limiter.
type AccountStatus struct {
	Name      string  `json:"name"`
	Breaker   string  `json:"breaker"` // closed, open, half-open
	Blocked   string  `json:"blocked"` // why no call goes out: "", breaker or credentials
	PerSecond float64 `json:"per_second"`
	Penalty   string  `json:"penalty,omitempty"` // time left, as a duration
	Share     float64 `json:"share"`             // owned partitions by all
	InFlight  int     `json:"in_flight"`         // slots in use
	Waiting   int     `json:"waiting"`           // attempts that wait for the rate or for a slot
}

// Counters only grow during the life of a Connector.
type Counters struct {
	Records      int64            `json:"records"`  // taken from the request topic
	Outcomes     map[string]int64 `json:"outcomes"` // results made, by outcome
	DeadLetters  int64            `json:"dead_letters"`
	Calls        map[string]int64 `json:"calls"` // by class of the answer
	Retries      int64            `json:"retries"`
	Commits      int64            `json:"commits"`
	Rebalances   int64            `json:"rebalances"`
	BreakerOpens int64            `json:"breaker_opens"`
}

// Latency is of the calls made so far, in seconds; zero before the first.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// Violation is one fault of a configuration.
type Violation struct {
	Path    string `json:"path"`    // e.g. accounts.main.account_sid
	Message string `json:"message"` // what is wrong and what would be right; never a secret's value
}
