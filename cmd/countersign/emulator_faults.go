package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/emulator"
)

// faultFlags are the emulator's faults as flags, over a file of them.
type faultFlags struct {
	file    string
	latency string
	late    string
	set     emulator.Faults
}

// rateFlags name the flags that are shares of calls.
var rateFlags = []struct {
	name, usage string
	field       func(*emulator.Faults) *float64
}{
	{"throttle-rate", "answered 429", func(f *emulator.Faults) *float64 { return &f.ThrottleRate }},
	{"server-error-rate", "answered 5xx and not carried out", func(f *emulator.Faults) *float64 { return &f.ServerErrorRate }},
	{"server-error-after-rate", "carried out and answered 5xx", func(f *emulator.Faults) *float64 { return &f.ServerErrorAfterRate }},
	{"reset-before-rate", "whose connection is reset, not carried out", func(f *emulator.Faults) *float64 { return &f.ResetBeforeRate }},
	{"reset-after-rate", "carried out, then reset", func(f *emulator.Faults) *float64 { return &f.ResetAfterRate }},
	{"garbled-rate", "carried out and answered with no JSON", func(f *emulator.Faults) *float64 { return &f.GarbledRate }},
	{"late-rate", "carried out late, and answered then", func(f *emulator.Faults) *float64 { return &f.LateRate }},
	{"reset-late-rate", "whose connection is reset at once, carried out late", func(f *emulator.Faults) *float64 { return &f.ResetLateRate }},
}

// durationFlags name the flags that are durations.
var durationFlags = []struct {
	name, usage string
	field       func(*emulator.Faults) *time.Duration
}{
	{"retry-after", "Retry-After of a 429 (default: none)", func(f *emulator.Faults) *time.Duration { return &f.RetryAfter }},
	{"list-lag", "how long a new challenge is missing from lists", func(f *emulator.Faults) *time.Duration { return &f.ListLag }},
	{"list-lag-max", "above --list-lag: each challenge has a lag of its own between the two", func(f *emulator.Faults) *time.Duration { return &f.ListLagMax }},
	{"purge-age", "after how long a challenge vanishes (default: never)", func(f *emulator.Faults) *time.Duration { return &f.PurgeAge }},
}

func (f *faultFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.file, "faults", "", "JSON `file` of faults, as POST /_emulator/faults takes it; flags win")
	fl.StringVar(&f.latency, "latency", "", "added to each call: a `duration`, or two as in 20ms-200ms")
	fl.StringVar(&f.late, "late", "", "how late the two late rates are: a `duration`, or two as in 1s-3s")
	fl.Float64Var(&f.set.ListLagRate, "list-lag-rate", 0, "share of challenges that lag (default: all)")
	fl.Float64Var(&f.set.PurgeRate, "purge-rate", 0, "share of challenges that vanish (default: all)")
	for _, r := range rateFlags {
		fl.Float64Var(r.field(&f.set), r.name, 0, "share of calls, 0 to 1, "+r.usage)
	}
	for _, d := range durationFlags {
		fl.DurationVar(d.field(&f.set), d.name, 0, d.usage)
	}
}

// faults is what the file and, over it, the flags ask for.
func (f faultFlags) faults(cmd *cobra.Command) (emulator.Faults, error) {
	all, err := f.fromFile()
	if err != nil {
		return all, err
	}
	for _, r := range rateFlags {
		if cmd.Flags().Changed(r.name) {
			*r.field(&all) = *r.field(&f.set)
		}
	}
	for _, d := range durationFlags {
		if cmd.Flags().Changed(d.name) {
			*d.field(&all) = *d.field(&f.set)
		}
	}
	if cmd.Flags().Changed("list-lag-rate") {
		all.ListLagRate = f.set.ListLagRate
	}
	if cmd.Flags().Changed("purge-rate") {
		all.PurgeRate = f.set.PurgeRate
	}
	if err := spanFlag("latency", f.latency, &all.Latency.Min, &all.Latency.Max); err != nil {
		return all, err
	}
	if err := spanFlag("late", f.late, &all.LateMin, &all.LateMax); err != nil {
		return all, err
	}
	if err := all.Validate(); err != nil {
		return all, &usageError{err: err}
	}
	return all, nil
}

// spanFlag reads one duration for both, or two with a dash between them. An
// empty text changes nothing.
func spanFlag(name, text string, from, to *time.Duration) error {
	if text == "" {
		return nil
	}
	low, high, between := strings.Cut(text, "-")
	if !between {
		high = low
	}
	var errLow, errHigh error
	*from, errLow = time.ParseDuration(low)
	*to, errHigh = time.ParseDuration(high)
	if errLow != nil || errHigh != nil {
		return usagef("--%s must be a duration, or two as in 20ms-200ms", name)
	}
	return nil
}

func (f faultFlags) fromFile() (emulator.Faults, error) {
	if f.file == "" {
		return emulator.Faults{}, nil
	}
	file, err := os.Open(f.file)
	if err != nil {
		return emulator.Faults{}, fmt.Errorf("--faults: %w", err)
	}
	defer func() { _ = file.Close() }()
	all, err := emulator.DecodeFaults(file)
	if err != nil {
		return all, fmt.Errorf("--faults %s: %w", f.file, err)
	}
	return all, nil
}
