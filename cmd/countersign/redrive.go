package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connector/redrive"
	"github.com/countersign/countersign/schemas"
)

// The topics of a redrive that no connector knows.
const (
	parkingTopic = "challenge.parked"
	journalTopic = "challenge.redrives"
)

type redriveFlags struct {
	broker        brokerFlags
	topics        redrive.Topics
	group         string
	classes       []string
	codes         []int
	keys          []string
	ids           []string
	since, until  string
	notRedrivable bool
	notAfter      time.Duration
	rate          float64
	max           int
	parkAfter     int
	dryRun        bool
	json          bool
}

func redriveCommand() *cobra.Command {
	var f redriveFlags
	cmd := &cobra.Command{
		Use:   "redrive",
		Short: "Make requests again out of dead letters",
		Long: `Make requests again out of dead letters, all of them or those that the filters
pick. --dry-run says what would be sent and what it may cost, and sends nothing.

A dead letter goes back to the requests as it came: its key, value and headers, and
the partition it came from. Its id is kept, so one that has succeeded meanwhile is not
called again, within the horizon of the connector's ledger. It gets a new deadline, and
where an earlier attempt may have reached the API it is looked up there before anything
is called. The dead letters that are there at the start are looked at, none that arrive
later.

What was redriven before is not redriven again: a journal, the topic ` + journalTopic + `,
says which. It is written in the same transaction as the requests, so that holds after
a crash, too. A run with other filters, or one after an interruption, takes what is
left. Only one redrive is under way at a time; one that was killed is waited for, ten
seconds at most. Ctrl-C finishes the batch in hand.

What was redriven --park-after times already goes to the parking topic instead, headers
and all. To redrive from there: --dead-letters-topic ` + parkingTopic + ` --park-after 0.

Not redriven are dead letters of which the connector says that it makes no sense, those
that hold but a hash of a record too large to keep (never), and requests that have
become invalid because their expiration date has passed.

Keys, identities and payloads are never printed.

Exit codes: 0 done, also where nothing was to do; 1 failed or interrupted; 2 wrong
usage, nothing was done.`,
		Example: `  countersign redrive --dry-run
  countersign redrive --class throttled --class unavailable --since 2h
  countersign redrive --class ambiguous --code 0 --rate 2 --max 100
  countersign redrive --id signin-4711 --not-after 15m
  countersign redrive --dry-run --json | jq .calls.creates`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := cmd.Flags()
	f.broker.register(cmd)
	fl.StringSliceVar(&f.classes, "class", nil, "only dead letters of this `class`; repeatable, or comma-separated")
	fl.IntSliceVar(&f.codes, "code", nil, "only with this error `code` of the API, 0 for none; repeatable, or comma-separated")
	fl.StringVar(&f.since, "since", "", "only what was set aside from then on: a `duration` ago or an RFC 3339 time")
	fl.StringVar(&f.until, "until", "", "only what was set aside before: a `duration` ago or an RFC 3339 time")
	fl.StringArrayVar(&f.keys, "key", nil, "only records with this `key`; repeatable")
	fl.StringArrayVar(&f.ids, "id", nil, "only the request with this `id`; repeatable")
	fl.BoolVar(&f.notRedrivable, "include-not-redrivable", false, "also what the connector says makes no sense to redrive")
	fl.DurationVar(&f.notAfter, "not-after", 5*time.Minute, "new deadline, from when a request is sent; 0 leaves the old one")
	fl.Float64Var(&f.rate, "rate", 10, "requests per second; 0 is as fast as possible")
	fl.IntVar(&f.max, "max", 0, "redrive or park no more than `N` in this run; 0 is all")
	fl.IntVar(&f.parkAfter, "park-after", 5, "park what was redriven `N` times already; 0 is never")
	fl.BoolVarP(&f.dryRun, "dry-run", "n", false, "only say what would be done")
	fl.BoolVar(&f.json, "json", false, "print the report as one JSON object")
	fl.StringVar(&f.topics.DeadLetters, "dead-letters-topic", deadLettersTopic, "`topic` to read")
	fl.StringVar(&f.topics.Requests, "requests-topic", requestsTopic, "`topic` to send to")
	fl.StringVar(&f.topics.Parking, "parking-topic", parkingTopic, "`topic` for what was redriven too often; made if need be")
	fl.StringVar(&f.topics.Journal, "journal-topic", journalTopic, "`topic` that says what was redriven; made if need be")
	fl.StringVar(&f.group, "group", "countersign-redrive", "consumer `group` that lets one redrive run at a time")
	return cmd
}

func (f redriveFlags) run(cmd *cobra.Command) error {
	cfg, err := f.config(time.Now())
	if err != nil {
		return err
	}
	client, err := f.broker.client()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	ctx, release := interruptible(cmd.Context())
	defer release()
	shown := newProgress(cmd.ErrOrStderr())
	cfg.Progress = shown.update
	var report redrive.Report
	if f.dryRun {
		report, err = redrive.Survey(ctx, client, cfg)
	} else {
		report, err = redrive.Run(ctx, client, cfg)
	}
	shown.end()
	if err == nil || !f.dryRun && shown.last.Planned > 0 {
		if failed := f.print(cmd.OutOrStdout(), report, shown.last); failed != nil {
			return failed
		}
	}
	return f.explain(err, shown.last)
}

// explain says how to go on after an error.
func (f redriveFlags) explain(err error, at redrive.Progress) error {
	if err == nil {
		return nil
	}
	goOn := fmt.Sprintf("%d of %d were redriven or parked; the same command goes on behind them", at.Done, at.Planned)
	switch redrive.CodeOf(err) {
	case redrive.CodeInterrupted:
		if f.dryRun || at.Planned == 0 {
			return fmt.Errorf("interrupted: nothing was sent")
		}
		return fmt.Errorf("interrupted: %s", goOn)
	case redrive.CodeInvalid:
		return err
	case redrive.CodeBusy:
		return fmt.Errorf("%s (group %s): %w", goOn, f.group, err)
	default:
		if at.Planned > 0 {
			return fmt.Errorf("%s: %w", goOn, kafkaError(f.topics.Requests, err))
		}
		return kafkaError("of the dead letters or the requests", err)
	}
}

// config turns the flags into a configuration. All their faults are reported
// at once.
func (f redriveFlags) config(now time.Time) (redrive.Config, error) {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	cfg := redrive.Config{
		Topics: f.topics, Group: f.group, NotRedrivable: f.notRedrivable, NotAfter: f.notAfter, Rate: f.rate, Max: f.max,
		ParkAfter: f.parkAfter,
		Filter: redrive.Filter{
			Codes: f.codes, Keys: f.keys, IDs: f.ids,
			Since: past("since", f.since, now, fault), Until: past("until", f.until, now, fault),
		},
	}
	for _, class := range f.classes {
		if !slices.Contains(schemas.Classes(), schemas.Class(class)) {
			fault("--class must be one of %s, not %q", strings.Trim(fmt.Sprint(schemas.Classes()), "[]"), class)
		}
		cfg.Filter.Classes = append(cfg.Filter.Classes, schemas.Class(class))
	}
	for _, code := range f.codes {
		if code < 0 {
			fault("--code can't be negative")
		}
	}
	if f.group == "" {
		fault("--group needs a name")
	}
	for name, negative := range map[string]bool{
		"rate": f.rate < 0, "max": f.max < 0, "park-after": f.parkAfter < 0, "not-after": f.notAfter < 0,
	} {
		if negative {
			fault("--%s can't be negative", name)
		}
	}
	if len(faults) == 0 {
		if err := cfg.Check(); err != nil {
			fault("%s", err)
		}
	}
	return cfg, faultsOf(faults)
}

// past reads a moment that has been: so long ago, or a time. The zero time
// where there is none.
func past(flag, text string, now time.Time, fault faultFunc) time.Time {
	if text == "" {
		return time.Time{}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d)
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		fault("--%s must be a duration ago, as in 10m, or an RFC 3339 time", flag)
	}
	return t
}
