package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// windowFlags pick records of a topic by time, or by offsets.
type windowFlags struct {
	from, to string
	offsets  []string
}

// span are offsets of one partition: from from on, below to.
type span struct {
	partition int
	from, to  int64
}

func (f *windowFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.from, "from", "", "records from then on: a `duration` ago or an RFC 3339 time (default: the log's start)")
	fl.StringVar(&f.to, "to", "", "records before then: a `duration` ago or an RFC 3339 time (default: the end at the start)")
	fl.StringArrayVar(&f.offsets, "offsets", nil, "offsets A to below B of partition P as `P=A:B`, instead of times; repeatable")
}

// times are the window's bounds; zero where there is none.
func (f windowFlags) times(now time.Time, fault faultFunc) (from, to time.Time) {
	return past("from", f.from, now, fault), past("to", f.to, now, fault)
}

// spans are the offsets that were given.
func (f windowFlags) spans(fault faultFunc) (all []span) {
	for _, text := range f.offsets {
		s, ok := parseSpan(text)
		if !ok {
			fault("--offsets must be PARTITION=FROM:TO, as in 3=1000:2000, not %q", text)
			continue
		}
		all = append(all, s)
	}
	return all
}

func parseSpan(text string) (s span, ok bool) {
	partition, offsets, found := strings.Cut(text, "=")
	from, to, both := strings.Cut(offsets, ":")
	if !found || !both {
		return s, false
	}
	p, err := strconv.ParseInt(partition, 10, 32)
	if err != nil || p < 0 {
		return s, false
	}
	s.partition = int(p)
	if s.from, err = strconv.ParseInt(from, 10, 64); err != nil || s.from < 0 {
		return s, false
	}
	s.to, err = strconv.ParseInt(to, 10, 64)
	return s, err == nil && s.to > s.from
}
