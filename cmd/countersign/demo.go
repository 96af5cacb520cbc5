package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/countersign/countersign/internal/demo"
)

// fallbackWidth is the width of a terminal that does not tell it.
const fallbackWidth = 80

type demoFlags struct {
	requests int
	rate     float64
	faults   bool
	outage   time.Duration
	seed     uint64
	keep     bool
	json     bool
	web      webFlag
}

func demoCommand() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run everything on this machine, and prove what came of it",
		Long: `Start an embedded Kafka broker, an emulated Challenge API and a host with the
connector as a plugin in a process of its own; enrol virtual phones and
authenticators; send a mixed stream of requests, good and bad, early and late,
several of one key in a row; let the phones approve and deny; and show live what
happens. Nothing else is needed, and nothing leaves this machine.

It ends by itself when every request has its result or dead letter, and counts
in the topics and at the API, not in the connector, what came of it: what is
lost, answered twice, out of order, or created twice.

--faults makes the API slow and unreliable: 429 with Retry-After, 5xx,
connections reset before and after the work. A create whose call has no clear end
is looked for, and adopted if it was made: repeating it blindly could ring a
phone twice. --outage makes the API unreachable in the middle of the stream: the
breaker opens, intake pauses, and goes on afterwards.

The same --seed and --requests give the same stream.

--web serves a page on loopback with two more virtual phones, on which nobody
decides but you: challenges wait there with buttons to approve and deny, and a
form sends further requests to the topic. It stays up until Ctrl-C, and counts
what came from the page with the rest.

Ctrl-C stops sending, drains the plugin and counts all the same; a second one
gives up.

Exit codes: 0 nothing was lost or answered twice, and every other promise was
kept; 1 otherwise; 2 wrong usage.`,
		Example: `  countersign demo
  countersign demo --faults --outage 20s
  countersign demo --requests 2000 --rate 200 --json
  countersign demo --keep
  countersign demo --web`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := cmd.Flags()
	fl.IntVar(&f.requests, "requests", demo.DefaultRequests, "how many `N` to send")
	fl.Float64Var(&f.rate, "rate", demo.DefaultRate, "how many to send a second")
	fl.BoolVar(&f.faults, "faults", false, "make the API slow, throttling and failing")
	fl.DurationVar(&f.outage, "outage", 0, "make the API unreachable for that `duration`, from the middle on")
	fl.Uint64Var(&f.seed, "seed", 1, "decides the stream")
	fl.BoolVar(&f.keep, "keep", false, "stay up until Ctrl-C, and say how to connect with other tools")
	f.web.register(fl, "127.0.0.1:0")
	fl.BoolVar(&f.json, "json", false, "print one JSON summary; the progress goes to stderr")
	return cmd
}

func (f demoFlags) run(cmd *cobra.Command) error {
	opts, err := f.options(cmd)
	if err != nil {
		return err
	}
	signals := catch(cmd.Context(), slog.New(slog.DiscardHandler))
	defer signals.release()
	opts.Abort = signals.abort.Done()
	sum, err := demo.Run(signals.drain, opts)
	if sum == nil {
		return err
	}
	if f.json {
		err = errors.Join(err, json.NewEncoder(cmd.OutOrStdout()).Encode(sum))
	} else {
		_, writeErr := sum.WriteTo(cmd.OutOrStdout())
		err = errors.Join(err, writeErr)
	}
	if problems := sum.Problems(); err == nil && len(problems) > 0 {
		return fmt.Errorf("promises broken: %s", strings.Join(problems, ", "))
	}
	return err
}

func (f demoFlags) options(cmd *cobra.Command) (demo.Options, error) {
	if f.requests < 1 {
		return demo.Options{}, usagef("--requests must be at least 1")
	}
	if f.rate <= 0 {
		return demo.Options{}, usagef("--rate must be above 0")
	}
	if err := f.web.check(false); err != nil {
		return demo.Options{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return demo.Options{}, fmt.Errorf("this binary's own path: %w", err)
	}
	opts := demo.Options{
		Requests: f.requests, Rate: f.rate, Seed: f.seed, Faults: f.faults, Outage: f.outage, Keep: f.keep, Web: f.web.addr,
		Plugin: demo.Plugin{Path: self, Args: []string{"plugin"}}, Out: cmd.OutOrStdout(),
	}
	if f.json {
		opts.Out = cmd.ErrOrStderr()
	}
	opts.Width = terminal(opts.Out)
	if err := opts.Validate(); err != nil {
		return opts, &usageError{err: err}
	}
	return opts, nil
}

// terminal returns what tells the width of the terminal behind w, nil where
// there is none that a table could be redrawn on.
func terminal(w io.Writer) func() int {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || cmp.Or(os.Getenv("TERM"), "dumb") == "dumb" {
		return nil
	}
	return func() int {
		width, _, err := term.GetSize(int(file.Fd()))
		if err != nil || width <= 0 {
			return fallbackWidth
		}
		return width
	}
}
