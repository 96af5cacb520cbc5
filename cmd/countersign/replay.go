package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/connector/replay"
)

// The rest of the topics as a configuration without names has them.
const (
	ledgerTopic    = "challenge.ledger"
	positionsTopic = "challenge.positions"
)

const (
	replayGroup    = "countersign-replay"
	connectorGroup = "countersign" // as a configuration without a name has it
)

type replayFlags struct {
	broker  brokerFlags
	window  windowFlags
	into    string
	check   bool
	results string
	topics  replayTopics
	live    []string
	group   string
	own     string // the configured connector's group
	rate    float64

	notAfter time.Duration

	restart bool
	dryRun  bool
	json    bool
}

// replayTopics are the topics that only --check reads.
type replayTopics struct{ requests, deadLetters string }

func replayCommand() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay --into TOPIC | --check",
		Short: "Use recorded results again: rebuild a downstream, or try a new release on them",
		Long: `Use what was recorded again. Nothing is called, nothing rings and nothing is billed: a
replay has no way to write to the API.

--into writes the results of a window to another topic, for a downstream that has to be
rebuilt. --check runs the recorded requests of a window and the recorded answers of the
API through this release, writes nothing, and says where the result would be another one
than the recorded.

With --into, a record keeps its key, value, headers and timestamp, and its partition if
the target has as many. Two headers are added: countersign-replay names the run, and
countersign-replay-source says where the record stood, as topic/partition@offset. The
target is made if it does not exist, with the partitions of the source and without a
time limit; one that exists is left as it is. Refused are the connector's own topics, all
that another flag or the configuration names, where the requests came from that the
results answer, where the connector's group has committed offsets, and one that is
compacted, has message.timestamp.type=LogAppendTime, or a retention.ms that is shorter
than the first record to copy is old: what is replayed would be deleted at once.

How far a replay is stands in the offsets of its consumer group, written in one
transaction with the records. After Ctrl-C or a crash the same command goes on without a
gap or a repetition, as a reader of committed records sees it; once all is written, it
takes what has come since. A replay of another window or target needs --restart, which
begins anew, or another --group, which can't be the connector's or another consumer's.
One replay of a group is under way at a time. Brokers that go away are waited for.
Records that were deleted before they were copied end it: --restart takes what is left.

A duration ago is another time with each run: to go on, give --from and --to as times.

With --check, the window is one of requests, and a request is judged by its own time. Not
guessed is what a result does not tell: an end that was no answer of the API, a look-up,
the ledger, the clock, the configuration; they are counted, with the reason. --group is
the connector's group then (default: the configuration's, else countersign); with another
one nothing can be compared, which is said. Ctrl-C prints the rest as --offsets: requests
that waited for a late answer hold it back, so some are compared again.

Exit codes: 0 done, also where nothing was to do, and no differences; 1 failed,
interrupted, differences, nothing that could be compared, or the target refuses some of
the records; 2 wrong usage, also of a target, a group or a window that the brokers show
to be wrong: nothing was done.`,
		Example: `  countersign replay --into challenge.results.rebuilt --dry-run
  countersign replay --into challenge.results.rebuilt --rate 500
  countersign replay --into rebuilt --from 2026-03-01T00:00:00Z --to 2026-03-02T00:00:00Z
  countersign replay --into rebuilt --offsets 0=1000:2000 --offsets 3=0:500
  countersign replay --into rebuilt --restart --json | jq .written
  countersign replay --check --from 24h
  countersign replay --check --json | jq '.differences[].what'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := cmd.Flags()
	f.broker.register(cmd)
	fl.StringVar(&f.into, "into", "", "`topic` to write to; made if need be")
	fl.BoolVar(&f.check, "check", false, "compare with what this release would make of the same")
	f.window.register(cmd)
	fl.Float64Var(&f.rate, "rate", 0, "records per second; 0 is as fast as possible")
	fl.BoolVar(&f.restart, "restart", false, "begin anew, whatever was written before")
	fl.BoolVarP(&f.dryRun, "dry-run", "n", false, "only say what would be done")
	fl.BoolVar(&f.json, "json", false, "print the report as one JSON object")
	fl.StringVar(&f.results, "results-topic", "", "`topic` of the results (default: the configuration's, else "+resultsTopic+")")
	fl.StringVar(&f.topics.requests, "requests-topic", "", "`topic` of the requests, for --check (likewise, else "+requestsTopic+")")
	fl.StringVar(&f.topics.deadLetters, "dead-letters-topic", "", "`topic` of the dead letters, for --check (likewise)")
	fl.DurationVar(&f.notAfter, "not-after", 5*time.Minute, "deadline of a request that has none, as the connector has it, for --check")
	fl.StringSliceVar(&f.live, "live-topic", nil, "further `topic` that is never written to; repeatable, or comma-separated")
	fl.StringVar(&f.group, "group", "", "consumer `group` that keeps the progress (default "+replayGroup+")")
	return cmd
}

func (f replayFlags) run(cmd *cobra.Command) error {
	configured, err := f.broker.kafka()
	if err != nil {
		return err
	}
	for _, name := range []string{
		configured.Topics.Requests, configured.Topics.Results, configured.Topics.DeadLetters, configured.Topics.Ledger, configured.Topics.Positions,
	} {
		if name != "" {
			f.live = append(f.live, name)
		}
	}
	f.results = cmp.Or(f.results, configured.Topics.Results)
	f.topics.requests = cmp.Or(f.topics.requests, configured.Topics.Requests)
	f.topics.deadLetters = cmp.Or(f.topics.deadLetters, configured.Topics.DeadLetters)
	f.own = configured.Group
	if f.check {
		f.group = cmp.Or(f.group, configured.Group)
	}
	work, err := f.work(cmd, time.Now())
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
	return work(ctx, client)
}

// work is what the flags ask for.
func (f replayFlags) work(cmd *cobra.Command, now time.Time) (func(context.Context, *kafka.Client) error, error) {
	if !f.check {
		f.group = cmp.Or(f.group, replayGroup)
		cfg, err := f.config(now)
		return func(ctx context.Context, client *kafka.Client) error { return f.writeInto(ctx, cmd, client, cfg) }, err
	}
	cfg, err := f.checkConfig(cmd, now)
	return func(ctx context.Context, client *kafka.Client) error { return f.compare(ctx, cmd, client, cfg) }, err
}

func (f replayFlags) writeInto(ctx context.Context, cmd *cobra.Command, client *kafka.Client, cfg replay.Config) error {
	shown := newMeter(cmd.ErrOrStderr(), "offsets")
	cfg.Progress = func(p replay.Progress) { shown.update(p.Done, p.Total, p.Waiting) }
	var report replay.Report
	var err error
	if f.dryRun {
		report, err = replay.Plan(ctx, client, cfg)
	} else {
		report, err = replay.Into(ctx, client, cfg)
	}
	shown.end()
	begun := replay.CodeOf(err) != replay.CodeInvalid && len(report.Partitions) > 0
	if err == nil || !f.dryRun && begun {
		if failed := f.print(cmd.OutOrStdout(), report); failed != nil {
			return failed
		}
	}
	if err == nil && !f.dryRun && report.Refused > 0 {
		return fmt.Errorf("%s refuses %d of the records for good; the others are there", f.into, report.Refused)
	}
	return f.explain(err, report)
}

// explain says how to go on after an error.
func (f replayFlags) explain(err error, report replay.Report) error {
	if err == nil {
		return nil
	}
	goOn := fmt.Sprintf("%d offsets are left; the same command goes on there", report.Left())
	switch replay.CodeOf(err) {
	case replay.CodeInterrupted:
		if f.dryRun || len(report.Partitions) == 0 {
			return fmt.Errorf("interrupted: nothing was written")
		}
		return fmt.Errorf("interrupted: %s", goOn)
	case replay.CodeInvalid:
		return usagef("%w", err) // the topics or groups are such that nothing was begun
	case replay.CodeState:
		return err
	case replay.CodeBusy:
		return fmt.Errorf("%s (group %s): %w", goOn, f.group, err)
	default:
		if len(report.Partitions) > 0 {
			return fmt.Errorf("%s: %w", goOn, kafkaError(f.into, err))
		}
		return kafkaError(f.results, err)
	}
}

// config turns the flags into a configuration. All their faults are reported at
// once.
func (f replayFlags) config(now time.Time) (replay.Config, error) {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	cfg := replay.Config{
		Source: f.results, Target: f.into, Group: f.group, Rate: f.rate, Restart: f.restart, Window: f.windowOf(now, fault),
		// A topic that a flag names is somebody's, also where --into has no use for the flag.
		Live: append([]string{
			requestsTopic, resultsTopic, deadLettersTopic, ledgerTopic, positionsTopic, journalTopic, parkingTopic,
			f.results, f.topics.requests, f.topics.deadLetters,
		}, f.live...),
		Connectors: slices.Compact([]string{connectorGroup, cmp.Or(f.own, connectorGroup)}),
	}
	if f.into == "" {
		fault("--into must name the topic to write to, or --check be given")
	}
	if f.rate < 0 {
		fault("--rate can't be negative")
	}
	if len(faults) == 0 {
		if err := cfg.Check(); err != nil {
			fault("%s", err)
		}
	}
	return cfg, faultsOf(faults)
}

// windowOf is the window that the flags pick.
func (f replayFlags) windowOf(now time.Time, fault faultFunc) (w replay.Window) {
	w.From, w.To = f.window.times(now, fault)
	for _, s := range f.window.spans(fault) {
		w.Offsets = append(w.Offsets, replay.Span{Partition: s.partition, From: s.from, To: s.to})
	}
	return w
}

// faultsOf is one fault of usage made of all; nil where there is none.
func faultsOf(faults []string) error {
	if len(faults) == 0 {
		return nil
	}
	slices.Sort(faults)
	return usagef("%s", strings.Join(faults, "\n"))
}
