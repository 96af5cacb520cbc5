package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/countersign/countersign/connector/replay"
)

// print writes the report of a replay, or of a dry one.
func (f replayFlags) print(out io.Writer, r replay.Report) error {
	if f.json {
		data, err := json.Marshal(struct {
			DryRun bool  `json:"dry_run"`
			Left   int64 `json:"left"`
			replay.Report
		}{f.dryRun, r.Left(), r})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s\n", data)
		return err
	}
	_, err := io.WriteString(out, f.text(r))
	return err
}

// text is the report for a person.
func (f replayFlags) text(r replay.Report) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	offsets := int64(0)
	for _, p := range r.Partitions {
		offsets += p.To - p.From
	}
	line("%d offsets of %s in %d partitions", offsets, f.results, len(r.Partitions))
	if r.Resumed {
		line("  goes on with run %s", r.Run)
	}
	for _, p := range r.Partitions {
		if p.To > p.From {
			line("  partition %d: %d to %d, %s", p.Partition, p.From, p.To, leftText(p))
		}
	}
	switch {
	case f.dryRun && r.Makes:
		line("dry run: nothing was written; %s would be made", f.into)
	case f.dryRun:
		line("dry run: nothing was written")
	default:
		line("%d records written to %s by run %s", r.Written, f.into, r.Run)
	}
	switch {
	case r.Refused == 0:
	case len(r.Refusals) == 0:
		line("%d records refused by %s for good, and left out by runs before this one", r.Refused, f.into)
	default:
		line("%d records refused by %s for good, and left out; this run met:", r.Refused, f.into)
	}
	for i, place := range r.Refusals {
		if i == shownRefusals {
			line("  ... (--json names a hundred)")
			break
		}
		line("  %s", place)
	}
	return b.String()
}

func leftText(p replay.PartitionReport) string {
	if p.Next >= p.To {
		return "nothing left"
	}
	return fmt.Sprintf("goes on at %d", p.Next)
}
