package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

type sendFlags struct {
	broker      brokerFlags
	request     requestFlags
	topic       string
	results     string
	key         string
	rate        float64
	noValidate  bool
	wait        bool
	waitTimeout time.Duration
}

func sendCommand() *cobra.Command {
	var f sendFlags
	cmd := &cobra.Command{
		Use:   "send [FILE...]",
		Short: "Send request events, from files, stdin or flags",
		Long: `Send request events to the topic that a connector reads.

Without FILE, one request is made of the flags. With FILE, the events are taken
from there, as they stand.

` + inputHelp + `

All events are checked first, with every fault reported, and none is sent while
one has a fault. --no-validate sends files as they are, to see what a connector
makes of them. A record's key is the event's identity in lower case, so that the
requests of one identity are in one partition and keep their order, unless --key
says otherwise.

For each event, its id is printed once Kafka has it. With --wait, the results
follow, one line each, as countersign tail prints them. Auth payloads are never
printed.

Exit codes: 0 sent, and with --wait every request succeeded (or was adopted, or a
duplicate); 1 otherwise; 2 wrong usage, flags that make no valid request included.`,
		Example: `  # With countersign emulator --push-factor customer-0001 > emulator.txt:
  countersign send --wait --operation create \
      --service-sid VA00000000000000000000000000000001 --identity customer-0001 \
      --factor-sid "$(awk '$1 == "factor_sid" {print $2}' emulator.txt)" \
      --message "Sign in?" --field "From=Browser" --hidden session=42 --not-after 2m

  # All challenges of an identity:
  countersign send --wait --operation list \
      --service-sid VA00000000000000000000000000000001 --identity customer-0001

  countersign send requests.jsonl more.jsonl
  generate-requests | countersign send --rate 20 -`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fl := cmd.Flags()
	f.broker.register(cmd)
	fl.StringVar(&f.topic, "topic", requestsTopic, "`topic` to send to")
	fl.StringVar(&f.results, "results-topic", resultsTopic, "`topic` to wait on")
	fl.StringVar(&f.key, "key", "", "record `key` of every event (default: its identity in lower case)")
	fl.Float64Var(&f.rate, "rate", 0, "events per second; 0 is as fast as possible")
	fl.BoolVar(&f.noValidate, "no-validate", false, "send files without checking them")
	fl.BoolVarP(&f.wait, "wait", "w", false, "wait for the results and print them")
	fl.DurationVar(&f.waitTimeout, "wait-timeout", 6*time.Minute, "wait no longer; 0 is for ever")
	f.request.register(fl)
	return cmd
}

func (f sendFlags) run(cmd *cobra.Command, args []string) error {
	if err := f.check(cmd, args); err != nil {
		return err
	}
	// Signals are taken over only now: until here, also while stdin is read,
	// they may just end the process, because nothing has been sent.
	all, err := f.collect(cmd, args)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("nothing was sent: the input holds no event")
	}
	client, err := f.broker.client()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	ctx, release := interruptible(cmd.Context())
	defer release()
	// The writer's own picture of the cluster takes a topic without a right for
	// one that does not exist, and it takes long to say so.
	if _, err := client.Partitions(ctx, f.topic); err != nil {
		return fmt.Errorf("nothing was sent: %w", kafkaError(f.topic, err))
	}
	var waiting *waiter
	if f.wait {
		if waiting, err = newWaiter(ctx, client, f.results, cmd.OutOrStdout()); err != nil {
			return err
		}
	}
	sent, err := f.send(ctx, cmd, client, all)
	if waiting != nil && len(sent) > 0 {
		err = errors.Join(err, waiting.wait(ctx, sent, f.waitTimeout))
	}
	return err
}

func (f sendFlags) check(cmd *cobra.Command, args []string) error {
	described := f.request.given(cmd)
	stdin := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a != "-" })
	switch {
	case len(args) == 0 && !described:
		return usagef("nothing to send: name a FILE, - for stdin, or describe a request by flags")
	case len(args) > 0 && described:
		return usagef("a FILE and flags that describe a request exclude each other")
	case described && f.noValidate:
		return usagef("--no-validate is for files: flags can't make an event that is not valid")
	case len(stdin) > 1:
		return usagef("stdin can be read once")
	case f.rate < 0 || f.waitTimeout < 0:
		return usagef("--rate and --wait-timeout can't be negative")
	case !f.wait && (cmd.Flags().Changed("wait-timeout") || cmd.Flags().Changed("results-topic")):
		return usagef("--wait-timeout and --results-topic belong to --wait")
	}
	return nil
}

// collect reads and checks everything that is to be sent.
func (f sendFlags) collect(cmd *cobra.Command, args []string) ([]outgoing, error) {
	now := time.Now()
	if len(args) == 0 {
		e, err := f.request.event(cmd, now)
		if err != nil {
			return nil, err
		}
		return f.checked(cmd, []event{e}, now)
	}
	var events []event
	for _, name := range args {
		more, err := readEvents(name, cmd.InOrStdin())
		if err != nil {
			return nil, err
		}
		events = append(events, more...)
	}
	if !f.noValidate {
		return f.checked(cmd, events, now)
	}
	all := make([]outgoing, len(events))
	for i, e := range events {
		all[i] = f.unchecked(e)
	}
	return all, nil
}

// checked refuses all where one has a fault.
func (f sendFlags) checked(cmd *cobra.Command, events []event, now time.Time) ([]outgoing, error) {
	r := report{out: cmd.ErrOrStderr()}
	var all []outgoing
	for _, e := range events {
		if req := r.request(e, now); req != nil {
			all = append(all, outgoing{where: e.where, id: req.ID, msg: f.message(e, req.Identity)})
		}
	}
	if r.faulty > 0 {
		return nil, fmt.Errorf("nothing was sent: %d of %d events have faults", r.faulty, r.events)
	}
	return all, nil
}

// unchecked reads from an event only what sending it needs.
func (f sendFlags) unchecked(e event) outgoing {
	req, _, err := schemas.DecodeRequest(e.data)
	if err == nil {
		return outgoing{where: e.where, id: req.ID, msg: f.message(e, req.Identity)}
	}
	out := outgoing{where: e.where}
	if refused, ok := errors.AsType[*schemas.DecodeError](err); ok {
		out.id = refused.ID
	}
	var loose struct {
		Identity string `json:"identity"`
	}
	_ = json.Unmarshal(e.data, &loose) // what can't be read has no identity, and gets no key
	out.msg = f.message(e, loose.Identity)
	return out
}

func (f sendFlags) message(e event, identity string) kafka.Message {
	m := kafka.Message{Topic: f.topic, Value: e.data}
	key := strings.ToLower(identity) // the API does not tell case apart, and Kafka's partitioners do
	if f.key != "" {
		key = f.key
	}
	if key != "" {
		m.Key = []byte(key)
	}
	return m
}
