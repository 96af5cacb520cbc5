package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/connector/redrive"
)

// shownRefusals is how many refusals are named one by one for a person.
const shownRefusals = 10

// print writes the report of a run, or of a dry one.
func (f redriveFlags) print(out io.Writer, r redrive.Report, at redrive.Progress) error {
	if f.json {
		line := struct {
			DryRun bool `json:"dry_run"`
			redrive.Report
		}{f.dryRun, r}
		line.Redriven, line.Refusals = orNone(r.Redriven), orNone(r.Refusals)
		data, err := json.Marshal(line)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s\n", data)
		return err
	}
	_, err := io.WriteString(out, f.text(r, at))
	return err
}

func orNone[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// text is the report for a person.
func (f redriveFlags) text(r redrive.Report, at redrive.Progress) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%d dead letters in %s, %d picked by the filters", r.Read, f.topics.DeadLetters, r.Matched)
	if r.Already > 0 {
		line("  %6d redriven or parked before", r.Already)
	}
	would := ""
	if f.dryRun {
		would = "would be "
	}
	line("  %6d %sredriven to %s%s", r.Requests(), would, f.topics.Requests, f.pacing(r.Requests()+r.Parked))
	for _, t := range r.Redriven {
		looked := ""
		if t.LookUps > 0 {
			looked = fmt.Sprintf(", %d looked up first", t.LookUps)
		}
		line("  %6s %6d %s %s%s", "", t.Requests, cmp.Or(string(t.Operation), "unreadable"), t.Class, looked)
	}
	if r.Parked > 0 {
		line("  %6d %sparked in %s: redriven %d times or more", r.Parked, would, f.topics.Parking, f.parkAfter)
	}
	if r.Capped > 0 {
		line("  %6d left for later: --max %d", r.Capped, f.max)
	}
	f.refusals(r, line)
	if c := r.Calls; r.Requests() > 0 {
		line("calls, at most and without retries: %d creates (billed), %d updates, %d fetches, %d lists", c.Creates, c.Updates, c.Fetches, c.Lists)
		if c.LookUps > 0 {
			line("  and look-ups for %d requests: one or two Lists for a create, a Fetch for an update", c.LookUps)
		}
		if c.Unknown > 0 {
			line("  and whatever %d requests ask for that this release can't read", c.Unknown)
		}
	}
	switch {
	case f.dryRun:
		line("dry run: nothing was sent")
	case at.Planned > at.Done:
		line("%d of %d planned were done", at.Done, at.Planned)
	}
	return b.String()
}

func (f redriveFlags) pacing(n int) string {
	if !f.dryRun || f.rate == 0 || n == 0 {
		return ""
	}
	took := time.Duration(float64(n) / f.rate * float64(time.Second))
	return fmt.Sprintf(", in about %s at %g a second", max(took.Round(time.Second), time.Second), f.rate)
}

var refusalTexts = map[redrive.Reason]string{
	redrive.ReasonUnreadable:    "the headers are no dead letter's",
	redrive.ReasonHashOnly:      "too large to keep: only a hash of the record is left",
	redrive.ReasonNotRedrivable: "not redrivable, says the connector (--include-not-redrivable)",
	redrive.ReasonOutdated:      "the request is not valid any more",
	redrive.ReasonForeign:       "it comes from another topic than the requests'",
	redrive.ReasonTooLarge:      "Kafka refuses the request for good",
}

func (f redriveFlags) refusals(r redrive.Report, line func(format string, args ...any)) {
	for _, reason := range slices.Sorted(maps.Keys(r.Refused)) {
		line("  %6d not redriven: %s", r.Refused[reason], refusalTexts[reason])
	}
	for i, one := range r.Refusals {
		if i == shownRefusals {
			line("         ... (--json names a hundred)")
			break
		}
		line("         %s %s: %s", one.Place, printable(cmp.Or(one.RequestID, "(no id)")), printable(one.Details))
	}
}
