package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Summary is what came of a demo. Names in JSON are stable.
type Summary struct {
	// Counted in the topics, after everything has stopped.
	Requests    int            `json:"requests"` // request records
	Results     int            `json:"results"`  // results that stand for a request
	Outcomes    map[string]int `json:"outcomes"` // results by outcome
	Classes     map[string]int `json:"classes"`  // what went wrong, by class of error
	DeadLetters int            `json:"dead_letters"`
	Lost        int            `json:"lost"`         // requests without a result or dead letter
	Duplicates  int            `json:"duplicates"`   // requests with more than one
	Orphans     int            `json:"orphans"`      // results and dead letters of no known request
	Unreadable  int            `json:"unreadable"`   // results and dead letters that break the contract
	OutOfOrder  int            `json:"out_of_order"` // results that overtook an earlier request of their key
	// Unfinished are requests without an answer that nobody had promised yet: an
	// interrupt ended the demo before the connector had committed beyond them. The next
	// start would do them.
	Unfinished int `json:"unfinished"`

	// Counted by the API.
	Calls   int `json:"calls"`   // challenge calls, those of devices left out
	Creates int `json:"creates"` // challenges made
	// Counted by comparing the API's list of challenges with the results.
	CreateResults    int `json:"create_results"`    // results that show a new challenge
	AmbiguousCreates int `json:"ambiguous_creates"` // creates without a clear end, given up and not repeated
	ExtraCreates     int `json:"extra_creates"`     // made at the API beyond what both explain: called twice
	PhantomCreates   int `json:"phantom_creates"`   // shown by a result, and unknown to the API

	// The connector's own word.
	Retries      int64   `json:"retries"`
	Breaker      string  `json:"breaker"` // state at the end
	BreakerOpens int64   `json:"breaker_opens"`
	P50          float64 `json:"p50_ms"` // of calls
	P99          float64 `json:"p99_ms"`

	Approved       int64  `json:"approved"` // by virtual devices
	Denied         int64  `json:"denied"`
	Ignored        int64  `json:"ignored"`
	PID            int    `json:"pid"` // of the host, which is this process
	PluginPID      int    `json:"plugin_pid"`
	PluginRestarts int    `json:"plugin_restarts"`
	Seed           uint64 `json:"seed"`
	ElapsedMS      int64  `json:"elapsed_ms"`
	Interrupted    bool   `json:"interrupted"`
}

// fill takes over what was counted.
func (s *Summary) fill(a account) {
	s.Requests, s.Results, s.Outcomes, s.Classes, s.DeadLetters = a.Requests, a.Results, a.Outcomes, a.Classes, a.DeadLetters
	s.Lost, s.Duplicates, s.Orphans = len(a.Missing), len(a.Doubled), a.Orphans
	s.Unreadable, s.OutOfOrder = a.Unreadable, a.OutOfOrder
	s.Creates, s.CreateResults, s.AmbiguousCreates = a.Creates, a.CreateResults, a.Ambiguous
	s.ExtraCreates, s.PhantomCreates = a.extraCreates(), a.PhantomCreates
}

// Problems are the promises that were not kept; none where all is well.
func (s *Summary) Problems() []string {
	var out []string
	for _, p := range []struct {
		n    int
		what string
	}{
		{s.Lost, "requests lost"},
		{s.Duplicates, "requests answered more than once"},
		{s.Orphans, "answers to no known request"},
		{s.Unreadable, "answers that break the event contract"},
		{s.OutOfOrder, "results that overtook an earlier request of their key"},
		{s.ExtraCreates, "challenges made twice"},
		{s.PhantomCreates, "results that show a challenge which does not exist"},
	} {
		if p.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return out
}

// WriteTo writes the summary for a person.
func (s *Summary) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, s.text())
	return int64(n), err
}

func (s *Summary) text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-13s %s\n", name, fmt.Sprintf(format, args...))
	}
	b.WriteString("\nSummary, counted in the topics and by the API after everything had stopped\n")
	line("requests", "%d in %s, seed %d", s.Requests, time.Duration(s.ElapsedMS)*time.Millisecond, s.Seed)
	line("results", "%d: %s", s.Results, counts(s.Outcomes))
	line("dead letters", "%d", s.DeadLetters)
	line("calls", "%d, p50 %.0fms, p99 %.0fms, %d retries", s.Calls, s.P50, s.P99, s.Retries)
	line("creates", "%d at the API, %d in results, %d calls without a clear end, %d made twice",
		s.Creates, s.CreateResults, s.AmbiguousCreates, s.ExtraCreates)
	line("breaker", "%s, opened %d times", s.Breaker, s.BreakerOpens)
	line("phones", "%d approved, %d denied, %d ignored", s.Approved, s.Denied, s.Ignored)
	line("plugin", "process %d of host %d, %d restarts", s.PluginPID, s.PID, s.PluginRestarts)
	if s.Interrupted {
		line("interrupted", "%d requests are unfinished, and not lost: nothing was committed beyond them", s.Unfinished)
	}
	line("adopted", "%d", s.Outcomes["adopted"])
	line("lost", "%d", s.Lost)
	line("duplicates", "%d", s.Duplicates)
	for _, p := range s.Problems() {
		line("PROBLEM", "%s", p)
	}
	return b.String()
}
