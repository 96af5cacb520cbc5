package replay

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// state is what the group's offset for a partition carries as its metadata.
type state struct {
	Replay int `json:"countersign_replay"` // stateVersion
	// Epoch counts how often the group's replays began anew. A partition below the
	// highest one has not begun in it: it is set to it before anything is written.
	Epoch  int    `json:"epoch"`
	Run    string `json:"run"`
	Window string `json:"window"` // fingerprint of what is replayed
	Target string `json:"target"` // for a person, with the next two
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
	// End is the offset at which the partition is complete, whatever comes later. Nil:
	// it takes what comes.
	End *int64 `json:"end,omitempty"`
	// Refused are records of the partition that were left out: they lie below the
	// offset like all the others.
	Refused int64 `json:"refused"`
	// Taken is how many of the target's offsets the partition's records and their
	// transactions' markers have taken, at least.
	Taken int64 `json:"taken"`
}

// taken is how many offsets a transaction takes, at least.
func taken(records int64) int64 {
	if records == 0 {
		return 0
	}
	return records + 1
}

// progress is how far a partition is.
type progress struct {
	state
	next int64 // the offset to go on from
}

// complete reports that nothing of the window can be left.
func (p progress) complete() bool { return p.End != nil && p.next >= *p.End }

// stateVersion is 2 since refused records are counted: who can't count them must not
// go on in a run.
const stateVersion = 2

// state is what is committed for this configuration.
func (c Config) state(epoch int, run string) state {
	s := state{Replay: stateVersion, Epoch: epoch, Run: run, Window: c.fingerprint(), Target: c.Target}
	for into, t := range map[*string]time.Time{&s.From: c.Window.From, &s.To: c.Window.To} {
		if !t.IsZero() {
			*into = t.UTC().Format(time.RFC3339Nano)
		}
	}
	return s
}

func (s state) metadata() string {
	data, err := json.Marshal(s)
	if err != nil {
		panic("replay: a state can't be encoded: " + err.Error()) // texts and numbers always can
	}
	return string(data)
}

// readState reads the metadata of a committed offset; false: it is none of ours.
func readState(metadata string) (s state, ours bool) {
	err := json.Unmarshal([]byte(metadata), &s)
	return s, err == nil && s.Replay == stateVersion && s.Epoch > 0 && s.Run != ""
}

// fingerprint stands for what is replayed and where to: a run of another one must
// not go on where this one ended.
func (c Config) fingerprint() string {
	spans := slices.Clone(c.Window.Offsets)
	slices.SortFunc(spans, func(a, b Span) int { return a.Partition - b.Partition })
	data, err := json.Marshal([]any{c.Source, c.Target, c.Window.From.UnixMilli(), c.Window.To.UnixMilli(), spans})
	if err != nil {
		panic("replay: a window can't be encoded: " + err.Error())
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// resume finds what to go on with in what the group has committed: the state of
// this run, and where each of its partitions is. What is not there has not begun.
func (c Config) resume(committed map[int]kafka.Position, newRun func() string) (state, map[int]progress, error) {
	var last state
	at := map[int]progress{}
	for p, pos := range committed {
		if pos.Offset < 0 {
			continue
		}
		s, ours := readState(pos.Metadata)
		if !ours && s.Replay > 0 && s.Replay != stateVersion {
			return last, nil, badState("the group %s is in a replay of another release, whose progress (of version %d) this one can't take up: give another group", c.Group, s.Replay)
		}
		if !ours {
			return last, nil, badState("the group %s has committed an offset for %s/%d that is no replay's: give another group", c.Group, c.Source, p)
		}
		if s.Epoch > last.Epoch {
			last, at = s, map[int]progress{}
		}
		if s.Epoch == last.Epoch {
			at[p] = progress{state: s, next: pos.Offset}
		}
	}
	switch {
	case c.Restart || last.Epoch == 0:
		return c.state(last.Epoch+1, newRun()), map[int]progress{}, nil
	case last.Window != c.fingerprint():
		return last, nil, badState("the group %s is in a replay of another window or target (%s): give the same one, another group, or restart", c.Group, last.told())
	default:
		return c.state(last.Epoch, last.Run), at, nil
	}
}

// told names a window for a person.
func (s state) told() string {
	text := "into " + s.Target
	if s.From != "" {
		text += " from " + s.From
	}
	if s.To != "" {
		text += " to " + s.To
	}
	return fmt.Sprintf("%s, run %s", text, s.Run)
}
