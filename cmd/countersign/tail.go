package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// defaultLast is how many records are shown where neither -n nor --since says.
const defaultLast = 10

// topicAliases are the short names of --topic.
var topicAliases = map[string]string{
	"requests":    requestsTopic,
	"results":     resultsTopic,
	"deadletters": deadLettersTopic,
}

type tailFlags struct {
	broker    brokerFlags
	topic     string
	follow    bool
	since     string
	last      int
	json      bool
	requestID string
	outcome   string
}

func tailCommand() *cobra.Command {
	var f tailFlags
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show results, requests or dead letters, and follow them",
		Long: `Show the last records of a topic: results, requests or dead letters, or a topic
of any name that holds such. Only committed records are shown. Nothing is
committed and no consumer group is joined.

What lies in the topic already comes in the order of its timestamps; with
--follow, new records come as they arrive, until Ctrl-C.

A line shows the time, what became of the request or what it asks for, its id
and, where there is one, the error. With --json, each line is the event as it
stands in the topic; a dead letter is an object of its countersign- headers and
the record's value, a record that is no JSON an object that says so. An
auth_payload is masked, wherever it stands.

Exit codes: 0 done, also after Ctrl-C, 1 failed, 2 wrong usage.`,
		Example: `  countersign tail --follow
  countersign tail --since 10m --outcome failed
  countersign tail --request-id 6f1c9d1e-6f0a-4b55-9f4b-0d8f3c1f2a77
  countersign tail --topic deadletters --since beginning
  countersign tail --json -n 1000 | jq -r .outcome | sort | uniq -c`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := cmd.Flags()
	f.broker.register(cmd)
	fl.StringVarP(&f.topic, "topic", "t", "results", "results, requests, deadletters or a topic's `name`")
	fl.BoolVarP(&f.follow, "follow", "f", false, "go on with what arrives, until Ctrl-C")
	fl.StringVar(&f.since, "since", "", "from then on: a `duration` ago, an RFC 3339 time, or beginning")
	fl.IntVarP(&f.last, "last", "n", defaultLast, "the last `N` that the filters let through (default: 10, and with --since all of them)")
	fl.Lookup("last").DefValue = "0" // its usage says more
	fl.BoolVar(&f.json, "json", false, "print the events themselves")
	fl.StringVar(&f.requestID, "request-id", "", "only what belongs to the request with this `id`")
	fl.StringVar(&f.outcome, "outcome", "", "only results with this `outcome`")
	return cmd
}

// filter says which records are shown.
type filter struct {
	since     time.Time // zero: all
	requestID string
	outcome   schemas.Outcome
}

func (f filter) keeps(e entry) bool {
	return !e.rec.Timestamp.Before(f.since) &&
		(f.requestID == "" || f.requestID == e.requestID) &&
		(f.outcome == "" || f.outcome == e.outcome)
}

func (f tailFlags) run(cmd *cobra.Command) error {
	keep, err := f.filter(time.Now())
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
	err = f.show(ctx, cmd, client, keep)
	if ctx.Err() != nil {
		return nil // it was asked to end
	}
	return err
}

func (f tailFlags) show(ctx context.Context, cmd *cobra.Command, client *kafka.Client, keep filter) error {
	topic := f.topic
	if name, ok := topicAliases[topic]; ok {
		topic = name
	}
	ranges, err := client.Ranges(ctx, topic)
	if err != nil {
		return kafkaError(topic, err)
	}
	write := func(e entry) error {
		text := e.line
		if f.json {
			text = e.json
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), text())
		return err
	}
	last := f.last
	if f.since != "" && !cmd.Flags().Changed("last") {
		last = -1
	}
	past, err := history(ctx, client, topic, ranges, last, keep)
	if err != nil {
		return err
	}
	for _, e := range past {
		if err := write(e); err != nil {
			return err
		}
	}
	if !f.follow {
		return nil
	}
	from := make([]int64, len(ranges))
	for p, r := range ranges {
		from[p] = r.End
	}
	for rec, err := range follow(ctx, client, topic, from) {
		if err != nil {
			return err
		}
		if e := read(rec); keep.keeps(e) {
			if err := write(e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f tailFlags) filter(now time.Time) (filter, error) {
	keep := filter{requestID: f.requestID, outcome: schemas.Outcome(f.outcome)}
	outcomes := []schemas.Outcome{
		schemas.OutcomeSucceeded, schemas.OutcomeAdopted, schemas.OutcomeDuplicate,
		schemas.OutcomeRejected, schemas.OutcomeExpired, schemas.OutcomeFailed,
	}
	switch {
	case f.outcome != "" && !slices.Contains(outcomes, keep.outcome):
		return keep, usagef("--outcome must be one of %s", strings.Trim(fmt.Sprint(outcomes), "[]"))
	case f.outcome != "" && (f.topic == "requests" || f.topic == "deadletters"):
		return keep, usagef("--outcome is for results")
	case f.last < 0:
		return keep, usagef("-n can't be negative")
	case f.since == "" || f.since == "beginning":
		return keep, nil
	}
	if d, err := time.ParseDuration(f.since); err == nil && d >= 0 {
		keep.since = now.Add(-d)
		return keep, nil
	}
	t, err := time.Parse(time.RFC3339, f.since)
	if err != nil {
		return keep, usagef("--since must be a duration ago, as in 10m, an RFC 3339 time, or beginning")
	}
	keep.since = t
	return keep, nil
}
