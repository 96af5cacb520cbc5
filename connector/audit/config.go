package audit

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/secret"
)

// Cluster is what an audit needs of Kafka, none of it writing. *kafka.Client is
// one.
type Cluster interface {
	Ranges(ctx context.Context, topic string) ([]kafka.Range, error)
	OffsetAt(ctx context.Context, topic string, partition int, at time.Time) (int64, error)
	AwaitStable(ctx context.Context, topic string, partition int) error
	Committed(ctx context.Context, group, topic string) (map[int]kafka.Position, error)
	Cursor(topic string, partition int, from, end int64, maxBytes int) *kafka.Cursor
}

// Config says what to audit. Topics and Group must be set; the zero values of the
// rest mean everything that is there, with the defaults that each names.
type Config struct {
	Topics Topics
	// Group is the consumer group whose results count. What it has committed says
	// how much of the window must have been answered.
	Group string
	// From and To bound the timestamps of the requests, To exclusively, as Kafka
	// finds offsets by time: the window begins at the first record that is not
	// before From. Zero: unbounded.
	From, To time.Time
	// Offsets is the window by offsets instead, for some partitions; the others
	// are not audited. Empty: From and To count.
	Offsets []OffsetSpan
	// AnswersUntil leaves out answers with that timestamp or a later one, so that
	// an old window needs not all that was written since. Zero: none.
	AnswersUntil time.Time
	// Skew is how far behind the requests' clocks those of the results may be:
	// answers are looked for from so much before the window on. Zero: 10m.
	Skew time.Duration
	// NotAfter is the deadline of a request that has none, counted from its
	// timestamp, as the connector has it. Zero: 5m.
	NotAfter time.Duration
	// LateTolerance is how much behind its deadline a call may be sent without
	// being late: clocks differ. Zero: 2s.
	LateTolerance time.Duration
	// MaxFindings is how many findings of a kind are listed; all are counted.
	// Zero: 1000.
	MaxFindings int
	// IdentityKey hashes identities. Empty: a key that everybody knows, which hides
	// nothing from who guesses an identity.
	IdentityKey secret.String
	// Reveal leaves identities in clear.
	Reveal bool
	// Tool is the release that audits, for the report.
	Tool string
	// State is a file that an interrupted run leaves behind, and that a later run of
	// the same configuration goes on from; it is removed when a run is done. Empty:
	// none, and an interrupted run begins anew.
	State string
	// Compare says how challenges are compared with the API. Nil: they are not. Where
	// it has no Identity, identities are told as elsewhere in the report.
	Compare *CompareConfig
	// pins are the offsets of a report that is made again; nil: none is.
	pins *pins
	// Progress is called now and then, by one goroutine at a time. Nil: not.
	Progress func(Progress)
}

// pins are what an earlier report has found the window to be.
type pins struct {
	Requests, Gone   []OffsetSpan
	WorkedOff        []OffsetSpan // only the ends count
	Results, Letters []OffsetSpan // nil: to their ends
	NotEnded         bool
}

// Progress is how far an audit is.
type Progress struct {
	Done, Total int64 // offsets
	// Comparing: all offsets are read, and Done and Total are challenges that are
	// compared with the API.
	Comparing bool
	// Waiting is why nothing goes on at the moment; nil: it does.
	Waiting error
}

const (
	defaultSkew          = 10 * time.Minute
	defaultNotAfter      = 5 * time.Minute
	defaultLateTolerance = 2 * time.Second
	defaultMaxFindings   = 1000
	mostFindings         = 1_000_000
)

func (c Config) withDefaults() Config {
	c.Skew = cmp.Or(c.Skew, defaultSkew)
	c.NotAfter = cmp.Or(c.NotAfter, defaultNotAfter)
	c.LateTolerance = cmp.Or(c.LateTolerance, defaultLateTolerance)
	c.MaxFindings = cmp.Or(c.MaxFindings, defaultMaxFindings)
	c.From, c.To, c.AnswersUntil = inMillis(c.From), inMillis(c.To), inMillis(c.AnswersUntil)
	return c
}

// inMillis is a time as Kafka can tell it.
func inMillis(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

// Check says what is wrong with the configuration: nil, or an *Error of
// CodeInvalid. Run checks it too.
func (c Config) Check() error {
	names := map[string]string{}
	for _, t := range []struct{ what, name string }{
		{"requests", c.Topics.Requests}, {"results", c.Topics.Results}, {"dead letters", c.Topics.DeadLetters},
	} {
		if t.name == "" {
			return invalid("the topic of the %s has no name", t.what)
		}
		if other, taken := names[t.name]; taken {
			return invalid("%s and %s can't be the same topic, %s", other, t.what, t.name)
		}
		names[t.name] = t.what
	}
	if c.Group == "" {
		return invalid("the consumer group has no name")
	}
	if !c.From.IsZero() && !c.To.IsZero() && !c.From.Before(c.To) {
		return invalid("no time is from %s on and before %s", c.From.Format(time.RFC3339), c.To.Format(time.RFC3339))
	}
	if len(c.Offsets) > 0 && !(c.From.IsZero() && c.To.IsZero()) {
		return invalid("the window is given by offsets or by times, not by both")
	}
	seen := map[int]bool{}
	for _, s := range c.Offsets {
		switch {
		case s.Partition < 0 || s.From < 0 || s.To <= s.From:
			return invalid("partition %d has no offset from %d on and before %d", s.Partition, s.From, s.To)
		case seen[s.Partition]:
			return invalid("partition %d is given twice", s.Partition)
		}
		seen[s.Partition] = true
	}
	if c.Skew < 0 || c.NotAfter < 0 || c.LateTolerance < 0 {
		return invalid("skew, deadline and tolerance can't be negative")
	}
	if c.MaxFindings < 0 || c.MaxFindings > mostFindings {
		return invalid("from 0 to %d findings of a kind can be listed", mostFindings)
	}
	return nil
}

// sortedOffsets are the spans by partition.
func (c Config) sortedOffsets() []OffsetSpan {
	out := slices.Clone(c.Offsets)
	slices.SortFunc(out, func(a, b OffsetSpan) int { return cmp.Compare(a.Partition, b.Partition) })
	return out
}

func newCounts() Counts {
	c := Counts{Operations: map[string]int64{}, Outcomes: map[string]int64{}, Classes: map[string]int64{}, ByKind: map[Kind]int64{}}
	for _, k := range Kinds() {
		c.ByKind[k] = 0
	}
	return c
}

func (c Counts) clone() Counts {
	c.Operations, c.Outcomes, c.Classes, c.ByKind = maps.Clone(c.Operations), maps.Clone(c.Outcomes), maps.Clone(c.Classes), maps.Clone(c.ByKind)
	return c
}

// ID is short, and the same for audits that read and keep the same: a name for a
// state that none of the others takes.
func (c Config) ID() string {
	of := c.withDefaults().fingerprint()
	return of.String()[:8]
}

// endless reports whether the window is everything from some time on.
func (c Config) endless() bool { return c.To.IsZero() && len(c.Offsets) == 0 }
