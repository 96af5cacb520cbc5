package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/integration/cluster"
)

type options struct {
	requests int
	keys     int
	rounds   int
	cells    string
	only     string
	json     string
	profiles string
	rate     int
	steady   int
}

const allCells = "0ms/64,0ms/512,20ms/64,20ms/512,100ms/64,100ms/512,100ms/1024,steady"

func (o *options) register(fs *flag.FlagSet) {
	fs.IntVar(&o.requests, "requests", 25_000, "requests of a run")
	fs.IntVar(&o.keys, "keys", 1_000, "keys that they are spread over")
	fs.IntVar(&o.rounds, "rounds", 3, "times that each cell is measured")
	fs.StringVar(&o.cells, "cells", allCells, "what to measure: latency/calls in flight, or steady")
	fs.StringVar(&o.only, "only", "", "contenders, of bare, plain and countersign; empty: all")
	fs.StringVar(&o.json, "json", "", "file to write every measurement to")
	fs.StringVar(&o.profiles, "profiles", "", "folder to write profiles of the contenders to")
	fs.IntVar(&o.rate, "rate", 200, "requests a second of the steady cell")
	fs.IntVar(&o.steady, "steady", 2_000, "requests of the steady cell")
}

func (o *options) check() error {
	if o.requests < 1 || o.keys < 1 || o.rounds < 1 || o.rate < 1 || o.steady < 1 {
		return errors.New("numbers must be positive")
	}
	if o.profiles != "" {
		return os.MkdirAll(o.profiles, 0o750)
	}
	return nil
}

var contenders = []string{"bare", "plain", "countersign"}

func (o *options) contenders() []string {
	if o.only == "" {
		return contenders
	}
	return strings.Split(o.only, ",")
}

// cell is one setting that all contenders are measured in.
type cell struct {
	Latency  time.Duration
	InFlight int
}

func (c cell) String() string { return fmt.Sprintf("%v/%d", c.Latency, c.InFlight) }

func parseCell(text string) (cell, error) {
	latency, inFlight, _ := strings.Cut(text, "/")
	d, err := time.ParseDuration(latency)
	if err != nil {
		return cell{}, fmt.Errorf("cell %q: %w", text, err)
	}
	n, err := strconv.Atoi(inFlight)
	if err != nil {
		return cell{}, fmt.Errorf("cell %q: %w", text, err)
	}
	return cell{d, n}, nil
}

// bench is all that is under way.
type bench struct {
	options
	broker *cluster.JarsCluster
	stage  *stage
	runs   int
	report report
}

func orchestrate(ctx context.Context, o options) (err error) {
	broker, err := cluster.StartJars(ctx, brokerConfig)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, broker.Close(context.WithoutCancel(ctx))) }()
	st, err := newStage(broker.Addrs()[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	b := &bench{options: o, broker: broker, stage: st}
	b.report.begin(o)
	if err := b.warm(ctx); err != nil {
		return err
	}
	for round := range o.rounds {
		for name := range strings.SplitSeq(o.cells, ",") {
			if name == "steady" {
				err = b.steady(ctx, round)
			} else {
				err = b.round(ctx, name, round)
			}
			if err != nil {
				return err
			}
		}
	}
	return b.report.write(os.Stdout, o.json)
}

// The broker counts as warm once what the connector's requests cost it has not
// fallen by a tenth twice in a row. A broker at work has long compiled what it uses,
// and compiling takes as much CPU as the work.
const (
	warmRequests = 20_000
	warmRounds   = 10
	warmEnough   = 0.9
)

// warm lets the broker compile what the measurements will use. A short benchmark
// does not wait for all of that.
func (b *bench) warm(ctx context.Context) error {
	short := min(b.requests, warmRequests)
	best, same := math.Inf(1), 0
	for range warmRounds {
		for _, delivery := range steadyContenders {
			run, err := b.measure(ctx, roleOf(delivery), delivery, cell{0, 256}, short, "")
			if err != nil {
				return err
			}
			if delivery != "exactly_once" {
				continue
			}
			cost := run.brokerCPU()
			fmt.Fprintf(os.Stderr, "warming the broker up: %.0f µs a request of the connector\n", cost)
			if same++; cost < warmEnough*best {
				same = 0
			}
			best = min(best, cost)
		}
		if short < warmRequests || same == 2 {
			return nil
		}
	}
	fmt.Fprintln(os.Stderr, "the broker is not warm yet: what it costs includes compiling")
	return nil
}

// round measures every contender in a cell once. Each round begins with another.
func (b *bench) round(ctx context.Context, name string, round int) error {
	c, err := parseCell(name)
	if err != nil {
		return err
	}
	order := slices.Clone(b.contenders())
	for range round % len(order) {
		order = append(order[1:], order[0])
	}
	for _, role := range order {
		profile := fmt.Sprintf("%s-%s-%d-%d", role, c.Latency, c.InFlight, round)
		run, err := b.measure(ctx, role, "exactly_once", c, b.requests, profile)
		if err != nil {
			return err
		}
		run.Round = round
		b.report.Runs = append(b.report.Runs, run)
		fmt.Fprintln(os.Stderr, run)
	}
	return nil
}

// measure lets one contender answer so many requests, against an API of its own.
func (b *bench) measure(ctx context.Context, role, delivery string, c cell, requests int, name string) (run run, err error) {
	s, api, err := b.open(ctx, c)
	if err != nil {
		return run, err
	}
	s.Requests, s.Delivery, s.Name = requests, delivery, name
	if name != "" {
		s.Profiles = b.profiles
	}
	if role != "bare" {
		if err := errors.Join(b.stage.prepare(ctx, s), b.stage.preload(ctx, s)); err != nil {
			return run, errors.Join(err, api.end())
		}
	}
	before, load := cpu(b.broker.Node(0).PID()), loadAverage()
	got, err := b.contend(ctx, role, s)
	if err = errors.Join(err, api.end()); err != nil {
		return run, err
	}
	run.Cell, run.Contender, run.measured, run.Load = c.String(), role, *got, load
	run.Broker = (cpu(b.broker.Node(0).PID()) - before).Seconds()
	run.API = api.cpu().Seconds()
	if role == "bare" {
		return run, nil
	}
	return run, errors.Join(b.stage.verify(ctx, s, role == "countersign"), b.stage.clear(ctx, s))
}

// open starts an API for a run.
func (b *bench) open(ctx context.Context, c cell) (spec, *child, error) {
	b.runs++
	s := spec{
		Brokers: b.broker.Addrs(), Run: fmt.Sprintf("bench-%03d", b.runs), Latency: c.Latency, Keys: b.keys, InFlight: c.InFlight,
	}
	api, err := spawn(ctx, "emulator", s)
	if err != nil {
		return s, nil, err
	}
	ready, err := api.hear()
	s.API, s.Factors = ready.URL, ready.Factors
	return s, api, err
}

func (b *bench) contend(ctx context.Context, role string, s spec) (*measured, error) {
	c, err := spawn(ctx, role, s)
	if err != nil {
		return nil, err
	}
	for {
		heard, err := c.hear()
		if err != nil {
			return nil, err
		}
		if heard.Measure != nil {
			return heard.Measure, c.end()
		}
	}
}

func loadAverage() float64 {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(data), " ")
	load, _ := strconv.ParseFloat(first, 64)
	return load
}
