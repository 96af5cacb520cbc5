package audit

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// Difference is one way in which the topics are not what a report says.
type Difference struct {
	// Topic and Partition are where it is; empty and -1: in no one place.
	Topic     string `json:"topic,omitempty"`
	Partition int    `json:"partition"`
	// From and To are the offsets between which the first differing record stands,
	// To inclusively; -1: not known.
	From int64  `json:"from"`
	To   int64  `json:"to"`
	Text string `json:"text"` // a sentence for a person
}

// Verify makes a report's window again, from the topics as they are now, and says
// in what the two differ; none: every record of the window is as it was. Of cfg
// only these matter: State, Progress, Tool and IdentityKey. Without a key, identities
// are not compared where the report was made with one; another key than that one is an
// error. A window that was open is compared as it was then: how much the group had
// worked off, and where the answers and a window without an end ended, is taken from
// the report, since nothing else knows.
//
// The comparison with the API is no part of it, and neither is how many findings
// are left out where the report has one. Tool and Version are not compared: another
// release may verify.
func Verify(ctx context.Context, kc Cluster, report *Report, cfg Config) ([]Difference, error) {
	again := cfg
	if err := again.like(report); err != nil {
		return nil, err
	}
	j := &join{cfg: again.withDefaults(), cluster: kc}
	out, err := j.checkWindow(ctx, &report.Window)
	if err != nil {
		return nil, err
	}
	now, err := Run(ctx, kc, again)
	if err != nil {
		return nil, err
	}
	starts, err := j.starts(ctx)
	if err != nil {
		return nil, err
	}
	differs, err := report.compare(now.asOf(report, starts))
	return append(out, differs...), err
}

// starts is where the logs of answers begin.
func (j *join) starts(ctx context.Context) (out map[string][]kafka.Range, err error) {
	out = map[string][]kafka.Range{}
	for _, topic := range []string{j.cfg.Topics.Results, j.cfg.Topics.DeadLetters} {
		if out[topic], err = j.ranges(ctx, topic); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// like takes everything from a report that decides on what is found.
func (c *Config) like(r *Report) error {
	if r.Covered.Algorithm != DigestAlgorithm {
		return invalid("the report's digest is made by %q; this release makes %q", r.Covered.Algorithm, DigestAlgorithm)
	}
	if made := digest(r.Covered.Trees); made.Root != r.Covered.Root {
		return invalid("the report contradicts itself: its trees have the root %s, not %s", made.Root, r.Covered.Root)
	}
	for i := range r.Covered.Trees {
		if t := &r.Covered.Trees[i]; t.root() != t.Root {
			return invalid("the report contradicts itself: the blocks of %s/%d have the root %s, not %s", t.Topic, t.Partition, t.root(), t.Root)
		}
	}
	w := r.Window
	if name := newMask(c.IdentityKey).name; !c.IdentityKey.IsZero() && w.IdentityKey != "" && w.IdentityKey != name {
		return invalid("the report's identities are hashed with the key %s, not with %s, the one that is given", printable(w.IdentityKey), name)
	}
	c.Compare = nil
	c.Topics, c.Group, c.MaxFindings = w.Topics, w.Group, w.MaxFindings
	c.NotAfter, c.LateTolerance, c.Skew = time.Duration(w.NotAfter), time.Duration(w.LateTolerance), time.Duration(w.Skew)
	c.From, c.To, c.AnswersUntil = orZero(w.From), orZero(w.To), orZero(w.AnswersUntil)
	c.Reveal = w.IdentityKey == ""
	c.Offsets = nil
	for _, s := range w.Requests {
		if w.ByOffsets {
			// The pins say which offsets; these only that the window is by offsets, be
			// none of them left.
			c.Offsets = append(c.Offsets, OffsetSpan{s.Partition, s.From, max(s.To, s.From+1)})
		}
	}
	c.pins = &pins{Requests: w.Requests, Gone: w.Gone, WorkedOff: w.WorkedOff, Results: w.Results, Letters: w.DeadLetters, NotEnded: w.NotEnded}
	if w.Closed {
		c.pins.WorkedOff = w.Requests
	}
	return nil
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// compare says in what a report made now differs.
func (r *Report) compare(now *Report) ([]Difference, error) {
	var out []Difference
	type key struct {
		topic     string
		partition int
	}
	was, is := map[key]*Tree{}, map[key]*Tree{}
	for trees, into := range map[*Digest]map[key]*Tree{&r.Covered: was, &now.Covered: is} {
		for i := range trees.Trees {
			t := &trees.Trees[i]
			into[key{t.Topic, t.Partition}] = t
		}
	}
	both := maps.Clone(was)
	maps.Copy(both, is)
	all := slices.SortedFunc(maps.Keys(both), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	for _, k := range all {
		if d, differs := differ(k.topic, k.partition, was[k], is[k]); differs {
			out = append(out, d)
		}
	}
	if len(out) > 0 {
		return out, nil // what was found differs with the records
	}
	said, err := r.said(now)
	if err != nil {
		return nil, err
	}
	says, err := now.said(r)
	if err != nil {
		return nil, err
	}
	if said != says {
		out = append(out, Difference{Partition: -1, From: -1, To: -1, Text: "The records of the window are as they were, and what the report says of them is not what they give: " + firstDifference(said, says) + "."})
	}
	return out, nil
}

// asOf is a report that has its answers read from where an earlier one had, where
// their logs begin later by now. That no record of the window was deleted is compared
// elsewhere.
func (r *Report) asOf(was *Report, starts map[string][]kafka.Range) *Report {
	c := *r
	since := func(topic string, is, was []OffsetSpan) []OffsetSpan {
		is = slices.Clone(is)
		for i := range min(len(is), len(was), len(starts[topic])) {
			if is[i].Partition == was[i].Partition && is[i].From <= starts[topic][is[i].Partition].Start {
				is[i].From = min(is[i].From, was[i].From)
			}
		}
		return is
	}
	c.Window.Results = since(c.Window.Topics.Results, c.Window.Results, was.Window.Results)
	c.Window.DeadLetters = since(c.Window.Topics.DeadLetters, c.Window.DeadLetters, was.Window.DeadLetters)
	return &c
}

// differ compares one partition's trees; nil: it had none.
func differ(topic string, partition int, was, is *Tree) (Difference, bool) {
	d := Difference{Topic: topic, Partition: partition, From: -1, To: -1}
	switch {
	case was == nil:
		d.From, d.To = is.First, is.Last
		d.Text = fmt.Sprintf("%s/%d had no record of the window and has %d now.", topic, partition, is.Records)
	case is == nil:
		d.From, d.To = was.First, was.Last
		d.Text = fmt.Sprintf("%s/%d had %d records of the window and has none now.", topic, partition, was.Records)
	case was.Root == is.Root && was.Records == is.Records && was.First == is.First && was.Last == is.Last:
		return d, false
	default:
		d.From, d.To = firstBlock(was, is)
		d.Text = fmt.Sprintf("%s/%d differs, first between the offsets %d and %d: it had %d records of the window and has %d now.",
			topic, partition, d.From, d.To, was.Records, is.Records)
	}
	return d, true
}

// firstBlock is where two trees first differ.
func firstBlock(was, is *Tree) (from, to int64) {
	a, b := was.coarse(max(was.Block, is.Block)), is.coarse(max(was.Block, is.Block))
	for i := range a {
		end := was.Last
		if i+1 < len(a) {
			end = a[i+1].First - 1
		}
		if i >= len(b) || a[i] != b[i] {
			return a[i].First, end
		}
	}
	return was.Last, max(was.Last, is.Last)
}

// coarse are the blocks where each has so many records.
func (t *Tree) coarse(size int64) []Block {
	out := slices.Clone(t.Blocks)
	for block := t.Block; block < size; block *= 2 {
		var half []Block
		for i := 0; i < len(out); i += 2 {
			b := out[i]
			if i+1 < len(out) {
				b.Hash = node(b.Hash, out[i+1].Hash)
			}
			half = append(half, b)
		}
		out = half
	}
	return out
}

// said is what a report says beside its digest, as far as another can be compared
// with it.
func (r *Report) said(other *Report) (string, error) {
	c := *r
	c.Tool, c.Version, c.API = "", "", nil
	c.Findings = nil
	c.Counts = c.Counts.clone()
	for _, f := range r.Findings {
		switch f.Kind {
		case KindAPIMissing, KindAPIStatus, KindAPIChanged:
			continue
		}
		if f.Request != nil && r.Window.IdentityKey != other.Window.IdentityKey {
			req := *f.Request
			req.Identity = ""
			f.Request = &req
		}
		c.Findings = append(c.Findings, f)
	}
	for _, k := range []Kind{KindAPIMissing, KindAPIStatus, KindAPIChanged} {
		delete(c.Counts.ByKind, k)
	}
	if r.API != nil || other.API != nil {
		c.Counts.FindingsLeftOut = 0 // it counts those of the API, too
	}
	c.Window.IdentityKey = ""
	data, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return "", invalid("the report can't be written: %w", err)
	}
	return string(data), nil
}

// firstDifference is the first line that differs.
func firstDifference(was, is string) string {
	a, b := strings.Split(was, "\n"), strings.Split(is, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%s instead of %s", strings.TrimSpace(b[i]), strings.TrimSpace(a[i]))
		}
	}
	return "one of the two goes on"
}
