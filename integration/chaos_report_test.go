package integration

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// verdict is what the judges found about a chaos.
type verdict struct {
	*judge
	c    *chaos
	load *load
}

func (c *chaos) judge(l *load) verdict {
	c.t.Helper()
	j := newJudge(c.t, reading{c.place, c.client, func() context.Context { return context.WithoutCancel(c.t.Context()) }}, c.api.Created())
	j.examine()
	return verdict{j, c, l}
}

// shownViolations is how many of a kind a terminal takes; the file has all.
const shownViolations = 4

// around is how far from a touched moment a strike may have to do with it.
const around = 10 * time.Second

func (v verdict) report() {
	v.c.t.Helper()
	v.c.t.Logf("\n%s", v.table())
	for _, s := range v.slowest()[:min(3, len(v.requests))] {
		if s.after > time.Minute {
			v.c.t.Logf("%s %s at %s waited %v: %s", s.operation, s.id, s.at, s.after, s.results[0])
		}
	}
	if v.adopted == 0 {
		v.c.t.Error("nothing was adopted: recovery was not put to the test, or does not work")
	}
	if v.ambiguous*1000 >= max(v.creates, 1000) {
		v.c.t.Errorf("%d of %d creates ended in doubt, want less than 1 in 1000", v.ambiguous, v.creates)
	}
	v.complain()
}

// complain shows every violation.
func (v verdict) complain() {
	v.c.t.Helper()
	if n := len(v.requests); n != v.load.sent() {
		v.c.t.Errorf("%d requests are committed of %d sent: the judge or the load miscounts", n, v.load.sent())
	}
	if len(v.found) == 0 {
		return
	}
	var all strings.Builder
	shown := map[string]int{}
	for _, found := range v.found {
		text := v.show(found)
		all.WriteString(text)
		if shown[found.kind]++; shown[found.kind] <= shownViolations {
			v.c.t.Error(text)
		}
	}
	path := filepath.Join(v.c.dir, "violations.txt")
	if err := os.WriteFile(path, []byte(all.String()), 0o600); err != nil {
		v.c.t.Error(err)
	}
	v.c.t.Errorf("%d violations with seed %d; all of them: %s", len(v.found), v.c.seed, path)
}

// show is a violation with the strikes around the moments that touch it.
func (v verdict) show(found violation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: %s\n", strings.ToUpper(found.kind), found.id, found.text)
	for _, s := range v.c.strikes {
		if slices.ContainsFunc(found.times, func(at time.Time) bool { return at.Sub(s.at).Abs() < around }) {
			fmt.Fprintf(&b, "      %s round %d: %s %s\n", clockTime(s.at), s.round, s.host, s.what)
		}
	}
	return b.String()
}

// table is what happened, in numbers.
func (v verdict) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name string, value any) { _, _ = fmt.Fprintf(w, "%s\t%v\n", name, value) }
	row("seed", v.c.seed)
	row("took", time.Since(v.c.started).Round(time.Second))
	for _, name := range slices.Sorted(maps.Keys(v.c.kinds)) {
		row(name, v.c.kinds[name])
	}
	stats := v.c.api.Stats()
	row("requests committed", len(v.requests))
	row("requests aborted upstream", len(v.load.aborted))
	row("create records", v.creates)
	row("challenges made", stats.Creates)
	row("marked challenges", len(v.markers))
	for _, op := range slices.Sorted(maps.Keys(v.outcomes)) {
		name := op
		if name == "" {
			name = "(unreadable)"
		}
		row("outcomes of "+name, inOrder(v.outcomes[op]))
	}
	row("dead letters", v.deadLettered)
	row("API calls", inOrder(stats.Calls))
	row("API faults", inOrder(stats.Faults))
	row("adopted", fmt.Sprintf("%d, %d of them made by a call that no API fault struck", v.adopted, v.adoptedUnstruck))
	row("ambiguous", fmt.Sprintf("%d (%.3f %% of creates)", v.ambiguous, 100*float64(v.ambiguous)/float64(max(v.creates, 1))))
	slowest := v.slowest()
	if n := len(slowest); n > 0 {
		row("answered after", fmt.Sprintf("p50 %v, p99 %v, at most %v", slowest[n/2].after, slowest[n/100].after, slowest[0].after))
	}
	kinds := map[string]int{}
	for _, f := range v.found {
		kinds[f.kind]++
	}
	for _, kind := range []string{"lost", "called twice", "answered twice"} {
		row(kind, kinds[kind])
		delete(kinds, kind)
	}
	row("other violations", inOrder(kinds))
	_ = w.Flush()
	return b.String()
}

// slow is how long a record waited for its result.
type slow struct {
	*asked
	after time.Duration
}

// slowest returns the answered records, those that waited longest first.
func (v verdict) slowest() []slow {
	var all []slow
	for _, a := range v.requests {
		if len(a.results) > 0 {
			all = append(all, slow{a, a.results[0].Times.Completed.Sub(a.produced).Round(time.Millisecond)})
		}
	}
	slices.SortFunc(all, func(a, b slow) int { return cmp.Compare(b.after, a.after) })
	return all
}

// inOrder writes counts in a steady order.
func inOrder[K ~string, V any](counts map[K]V) string {
	if len(counts) == 0 {
		return "0"
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %v", k, counts[k]))
	}
	return strings.Join(parts, ", ")
}
