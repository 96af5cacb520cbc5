package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/audit"
	"github.com/countersign/countersign/internal/secret"
)

type auditFlags struct {
	broker        brokerFlags
	topics        audit.Topics
	group         string
	window        windowFlags
	answersUntil  string
	skew          time.Duration
	notAfter      time.Duration
	lateTolerance time.Duration
	maxFindings   int
	reveal        bool
	identityKey   string
	json, html    string
	sign          string
	state         string
	verify        bool
	budget        int64
	rate          float64
}

func auditCommand() *cobra.Command {
	var f auditFlags
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Prove from the topics what became of each request",
		Long: `Join the requests of a window with the results and dead letters that answer them,
and report what does not fit: answers that are missing, there twice, contradictory,
late, without a request, or not to be told any more. It only reads: Kafka without
joining a group, and the Challenge API, where that is asked for, with GET alone.

The window is given by the requests' timestamps (--from, --to) or by offsets
(--offsets, for some partitions); without either it is everything. It is open until
the consumer group has worked off all of it. The same window is reported in the same
bytes for as long as its records are retained, whatever is written about others.

The report carries a digest of every record that it covers. countersign audit verify
makes it again and compares; --sign says by whom it was made. A report names no
identity: it has keyed hashes of them, unless --reveal asks for more. Payloads are in
none.

--verify compares the challenges with the API: status, and fields that never change.
It takes credentials from the configuration and makes --verify-budget calls at most.

Ctrl-C leaves a state behind, and the same command goes on from there. A duration ago is
another window with each run: to go on, give the times that are printed then. Brokers
that go away are waited for.

Exit codes: 0 clean, 1 something was found, 2 it could not be run or completed.`,
		Example: `  countersign audit --from 24h --to 1h
  countersign audit --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z --html jan.html
  countersign audit --offsets 0=1000:2000 --offsets 3=500:900
  countersign audit --from 1h --verify --verify-budget 500
  countersign audit --from 24h --json day.json --sign auditor
  countersign audit verify day.json --key auditor.pub`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := cmd.Flags()
	f.broker.register(cmd)
	f.window.register(cmd)
	fl.StringVar(&f.answersUntil, "answers-until", "", "only answers before then, for a quick look at an old window")
	fl.StringVar(&f.group, "group", "", "consumer `group` whose results count (default: the configuration's, else countersign)")
	fl.DurationVar(&f.notAfter, "not-after", 5*time.Minute, "deadline of a request that has none, as the connector has it")
	fl.DurationVar(&f.lateTolerance, "late-tolerance", 2*time.Second, "a call that much behind its deadline is not late: clocks differ")
	fl.DurationVar(&f.skew, "skew", 10*time.Minute, "look for answers from so much before the window on")
	fl.IntVar(&f.maxFindings, "max-findings", 1000, "list `N` findings of a kind; all are counted")
	fl.StringVar(&f.json, "json", "", "write the report as JSON to this `file`, - for standard output in place of the text")
	fl.StringVar(&f.html, "html", "", "write it as one HTML page to this `file`")
	fl.StringVar(&f.sign, "sign", "", "sign the JSON with the private key in this `file`, beside it as .sig")
	fl.BoolVar(&f.reveal, "reveal", false, "leave identities in clear")
	fl.StringVar(&f.identityKey, "identity-key", "", "hash identities with the key in this `file` (default: one that everybody knows)")
	fl.StringVar(&f.state, "state", "", "`file` that an interrupted run leaves behind (default: countersign-audit-ID.state here)")
	fl.BoolVar(&f.verify, "verify", false, "compare the challenges with the API, by GET alone")
	fl.Int64Var(&f.budget, "verify-budget", 1000, "make `N` calls of the API at most")
	fl.Float64Var(&f.rate, "verify-rate", 20, "calls of the API per second and account")
	fl.StringVar(&f.topics.Requests, "requests-topic", "", "`topic` of the requests (default: the configuration's, else "+requestsTopic+")")
	fl.StringVar(&f.topics.Results, "results-topic", "", "`topic` of the results (likewise, else "+resultsTopic+")")
	fl.StringVar(&f.topics.DeadLetters, "dead-letters-topic", "", "`topic` of the dead letters (likewise, else "+deadLettersTopic+")")
	cmd.AddCommand(auditVerifyCommand(), auditKeygenCommand())
	return cmd
}

// couldNot is an error of an audit, whose exit code says that nothing was decided.
func couldNot(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code: exitUsage, err: err}
}

func (f auditFlags) run(cmd *cobra.Command) error {
	kafkaConfig, err := f.broker.kafka()
	if err != nil {
		return couldNot(err)
	}
	cfg, err := f.config(kafkaConfig, time.Now())
	if err != nil {
		return err
	}
	outputs, err := f.outputs()
	if err != nil {
		return couldNot(err)
	}
	if f.verify {
		var done func()
		if cfg.Compare, done, err = f.compare(); err != nil {
			return couldNot(err)
		}
		defer done()
	}
	client, err := f.broker.client()
	if err != nil {
		return couldNot(err)
	}
	defer func() { _ = client.Close() }()
	ctx, release := interruptible(cmd.Context())
	defer release()
	show := newMeter(cmd.ErrOrStderr(), "offsets")
	cfg.Progress = func(p audit.Progress) {
		if p.Comparing {
			show.turn("challenges compared with the API")
		}
		show.update(p.Done, p.Total, p.Waiting)
	}
	defer frugal()()
	if err := goesOn(cmd.ErrOrStderr(), cfg.State); err != nil {
		return couldNot(err)
	}
	report, err := audit.Run(ctx, client, cfg)
	show.end()
	if err != nil {
		return couldNot(f.explain(err, cfg))
	}
	if err := outputs.write(cmd.OutOrStdout(), report); err != nil {
		return couldNot(err)
	}
	switch {
	case !report.Clean():
		return errReported
	case !report.Complete():
		return couldNot(fmt.Errorf("not all challenges could be compared with the API: %d without an answer, %d offsets of results deleted meanwhile", report.API.Failed, report.API.Deleted))
	default:
		return nil
	}
}

// goesOn says that a run takes up what another has left.
func goesOn(out io.Writer, state string) error {
	info, err := os.Stat(state)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "going on from %s, which an interrupted run left on %s: the window is as it was then\n", state, info.ModTime().UTC().Format(time.RFC3339))
	return err
}

func (f auditFlags) explain(err error, cfg audit.Config) error {
	switch audit.CodeOf(err) {
	case audit.CodeInterrupted:
		if times := f.pinned(cfg); times != "" {
			return fmt.Errorf("interrupted: to go on from %s, give the same command with %s, because a duration ago is another time now (%w)", cfg.State, times, err)
		}
		return fmt.Errorf("interrupted: the same command goes on from %s (%w)", cfg.State, err)
	case audit.CodeKafka:
		if _, none := os.Stat(cfg.State); none == nil {
			return fmt.Errorf("%w; the same command goes on from %s", kafkaError("of the audit", err), cfg.State)
		}
		return kafkaError("of the audit", err)
	default:
		return err
	}
}

// pinned are the flags of times as this run took them, to the nanosecond, so that the
// report says the same. Empty: none was a duration ago, and the same flags do.
func (f auditFlags) pinned(cfg audit.Config) string {
	var flags []string
	moves := false
	for _, given := range []struct {
		name, text string
		at         time.Time
	}{{"from", f.window.from, cfg.From}, {"to", f.window.to, cfg.To}, {"answers-until", f.answersUntil, cfg.AnswersUntil}} {
		if given.text == "" {
			continue
		}
		if _, err := time.ParseDuration(given.text); err == nil {
			moves = true
		}
		flags = append(flags, "--"+given.name+" "+given.at.UTC().Format(time.RFC3339Nano))
	}
	if !moves {
		return ""
	}
	return strings.Join(flags, " ")
}

// config turns the flags into a configuration. All their faults are reported at
// once.
func (f auditFlags) config(kc connector.KafkaConfig, now time.Time) (audit.Config, error) {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	cfg := audit.Config{
		Topics: audit.Topics{
			Requests: cmp.Or(f.topics.Requests, kc.Topics.Requests), Results: cmp.Or(f.topics.Results, kc.Topics.Results),
			DeadLetters: cmp.Or(f.topics.DeadLetters, kc.Topics.DeadLetters),
		},
		Group: cmp.Or(f.group, kc.Group), AnswersUntil: past("answers-until", f.answersUntil, now, fault),
		Skew: f.skew, NotAfter: f.notAfter, LateTolerance: f.lateTolerance, MaxFindings: f.maxFindings, Reveal: f.reveal, Tool: build().line(),
	}
	cfg.From, cfg.To = f.window.times(now, fault)
	for _, s := range f.window.spans(fault) {
		cfg.Offsets = append(cfg.Offsets, audit.OffsetSpan{Partition: s.partition, From: s.from, To: s.to})
	}
	for _, given := range []struct {
		name string
		ok   bool
	}{
		{"skew", f.skew > 0}, {"not-after", f.notAfter > 0}, {"late-tolerance", f.lateTolerance > 0}, {"max-findings", f.maxFindings > 0}, {"verify-rate", f.rate > 0},
	} {
		if !given.ok {
			fault("--%s must be above 0", given.name)
		}
	}
	if f.sign != "" && (f.json == "" || f.json == "-") {
		fault("--sign needs --json FILE: the signature is of that file")
	}
	if f.identityKey != "" {
		key, err := os.ReadFile(f.identityKey)
		if err != nil {
			fault("--identity-key: %s", err)
		} else if cfg.IdentityKey = secret.String(strings.TrimSpace(string(key))); cfg.IdentityKey.IsZero() {
			fault("--identity-key: %s is empty", f.identityKey)
		}
	}
	if len(faults) == 0 {
		if err := cfg.Check(); err != nil {
			fault("%s", err)
		}
	}
	if len(faults) > 0 {
		slices.Sort(faults)
		return cfg, usagef("%s", strings.Join(faults, "\n"))
	}
	cfg.State = cmp.Or(f.state, "countersign-audit-"+cfg.ID()+".state")
	return cfg, nil
}

// compare makes the ways to the API, which can only read, by the accounts' names.
func (f auditFlags) compare() (*audit.CompareConfig, func(), error) {
	_, cfg, err := f.broker.config.load()
	if err != nil {
		return nil, nil, err
	}
	out := &audit.CompareConfig{Accounts: map[string]audit.Challenges{}, Budget: f.budget, Rate: f.rate}
	var ends []func()
	for name, account := range cfg.Accounts {
		client, err := account.Reader()
		if err != nil {
			return nil, nil, fmt.Errorf("account %s: %w", name, err)
		}
		ends = append(ends, client.CloseIdleConnections)
		out.Accounts[name] = client
		if len(cfg.Accounts) == 1 {
			out.Accounts[""] = client
		}
	}
	return out, func() {
		for _, end := range ends {
			end()
		}
	}, nil
}
