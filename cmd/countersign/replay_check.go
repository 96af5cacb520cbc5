package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/connector/replay"
)

// checkConfig turns the flags of --check into a configuration. All their faults are
// reported at once.
func (f replayFlags) checkConfig(cmd *cobra.Command, now time.Time) (replay.CheckConfig, error) {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	cfg := replay.CheckConfig{
		Requests: f.topics.requests, Results: f.results, DeadLetters: f.topics.deadLetters, Group: f.group,
		Window: f.windowOf(now, fault), NotAfter: f.notAfter,
	}
	for _, other := range []string{"into", "rate", "restart", "dry-run", "live-topic"} {
		if cmd.Flags().Changed(other) {
			fault("--%s can't be used with --check, which writes nothing", other)
		}
	}
	if f.notAfter <= 0 {
		fault("--not-after must be above 0")
	}
	if len(faults) == 0 {
		if err := cfg.Check(); err != nil {
			fault("%s", err)
		}
	}
	return cfg, faultsOf(faults)
}

func (f replayFlags) compare(ctx context.Context, cmd *cobra.Command, client *kafka.Client, cfg replay.CheckConfig) error {
	shown := newMeter(cmd.ErrOrStderr(), "requests' offsets")
	cfg.Progress = func(p replay.Progress) { shown.update(p.Done, p.Total, p.Waiting) }
	defer frugal()()
	report, err := replay.Check(ctx, client, cfg)
	shown.end()
	if err == nil || report.Requests > 0 {
		if failed := f.printCheck(cmd.OutOrStdout(), report); failed != nil {
			return failed
		}
	}
	return endOfCheck(report, err)
}

// endOfCheck is what a check ends with. One that could compare none of the requests has
// not said that this release is right.
func endOfCheck(report replay.CheckReport, err error) error {
	if err == nil {
		if report.Differs+report.Unreadable > 0 || noneCompared(report) {
			return errReported
		}
		return nil
	}
	switch replay.CodeOf(err) {
	case replay.CodeInterrupted:
		return fmt.Errorf("interrupted: %d requests were compared%s", report.Requests, restOfCheck(report))
	case replay.CodeInvalid:
		return usagef("%w", err)
	case replay.CodeState:
		return err
	}
	err = kafkaError("of the requests, the results or the dead letters", err)
	if report.Requests == 0 {
		return err
	}
	return fmt.Errorf("%d requests were compared%s: %w", report.Requests, restOfCheck(report), err)
}

func noneCompared(r replay.CheckReport) bool { return r.Requests > 0 && r.Requests == r.Unanswered }

// restOfCheck says which flags take the rest.
func restOfCheck(r replay.CheckReport) string {
	var b strings.Builder
	for _, p := range r.Partitions {
		if p.Next < p.To {
			fmt.Fprintf(&b, " --offsets %d=%d:%d", p.Partition, p.Next, p.To)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "; the rest, with some of them again, is" + b.String()
}

var reasonTexts = map[replay.Reason]string{
	replay.ReasonNoAnswer:      "the call did not end with an answer of the API, or it is not recorded",
	replay.ReasonLookedUp:      "settled by a look-up",
	replay.ReasonClock:         "too late by the API's clock",
	replay.ReasonLedger:        "seen before, by the ledger",
	replay.ReasonConfiguration: "an account, or a limit of the guard",
	replay.ReasonTooLarge:      "the result was too large to publish as it was",
}

func (f replayFlags) printCheck(out io.Writer, r replay.CheckReport) error {
	if f.json {
		data, err := json.Marshal(r)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s\n", data)
		return err
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%d requests of %s", r.Requests, f.topics.requests)
	line("  %6d the same today", r.Same)
	line("  %6d differ", r.Differs)
	for _, what := range replay.Whats() {
		if n := r.What[what]; n > 0 {
			line("         %6d in: %s", n, what)
		}
	}
	line("  %6d can't be replayed", r.NotReplayable)
	for _, reason := range slices.Sorted(maps.Keys(r.Reasons)) {
		line("         %6d %s", r.Reasons[reason], reasonTexts[reason])
	}
	line("  %6d without an answer", r.Unanswered)
	if r.AnotherGroup > 0 {
		line("         %6d are answered by another group: --group?", r.AnotherGroup)
	}
	if r.Unreadable > 0 {
		line("  %6d results that this release can't read", r.Unreadable)
	}
	if noneCompared(r) {
		line("nothing could be compared")
	}
	for i, d := range r.Differences {
		if i == shownRefusals {
			line("... (--json names a thousand)")
			break
		}
		line("%s %s: %s, today %s", d.Request, printable(d.RequestID), toldText(d.Recorded), toldText(d.Today))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// toldText says how a result ends, in a few words.
func toldText(t replay.Told) string {
	text := string(t.Outcome)
	if text == "" {
		text = "no result"
	}
	if t.Class != "" {
		text += " (" + string(t.Class) + ")"
	}
	if t.Status != 0 {
		text += fmt.Sprintf(" for %d/%d", t.Status, t.Code)
	}
	return text
}
