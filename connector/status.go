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
	// Uncertain counts the records that may have been called, by this instance
	// or an earlier owner, and are looked for at the API.
	Uncertain int `json:"uncertain"`
	// Stuck describes the oldest unfinished record.
	Stuck *Stuck `json:"stuck,omitempty"`
}

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
