package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// run is one measurement.
type run struct {
	Cell      string  `json:"cell"`
	Contender string  `json:"contender"`
	Round     int     `json:"round"`
	Load      float64 `json:"load_before"`    // of the machine, one minute
	Broker    float64 `json:"broker_seconds"` // CPU, joining and leaving included
	API       float64 `json:"api_seconds"`    // CPU, its start included
	measured
}

func (r run) rate() float64 { return float64(r.Requests) / r.Seconds }

// each is microseconds a request.
func (r run) each(seconds float64) float64 { return seconds / float64(r.Requests) * 1e6 }

// cpu is the contender's own, in microseconds a request.
func (r run) cpu() float64       { return r.each(r.User + r.System) }
func (r run) brokerCPU() float64 { return r.each(r.Broker) }
func (r run) apiCPU() float64    { return r.each(r.API) }

func (r run) String() string {
	return fmt.Sprintf("%-10s %-12s %8.0f/s  %6.1f µs CPU (%.0f user, %.0f system)  %5.0f MiB  %5.0f allocs  broker %5.1f µs, API %5.1f µs a request  %d commits  load %.1f",
		r.Cell, r.Contender, r.rate(), r.cpu(), r.each(r.User), r.each(r.System), r.MaxRSSMiB, r.Allocs, r.brokerCPU(), r.apiCPU(), r.Commits, r.Load)
}

// steadyRun is one measurement of latency: milliseconds added to the call's own.
type steadyRun struct {
	Contender string  `json:"contender"`
	Round     int     `json:"round"`
	Requests  int     `json:"requests"`
	Rate      int     `json:"rate"`
	P50       float64 `json:"p50_ms"`
	P90       float64 `json:"p90_ms"`
	P99       float64 `json:"p99_ms"`
	Max       float64 `json:"max_ms"`
	CPU       float64 `json:"cpu_us"` // a request, start and end included
	Load      float64 `json:"load_after"`
}

func (r steadyRun) String() string {
	return fmt.Sprintf("steady %d/s %-14s added p50 %5.1f ms, p90 %5.1f ms, p99 %5.1f ms, max %5.1f ms  %6.1f µs CPU  load %.1f",
		r.Rate, r.Contender, r.P50, r.P90, r.P99, r.Max, r.CPU, r.Load)
}

// report is everything that was measured.
type report struct {
	At       time.Time   `json:"at"`
	Go       string      `json:"go"`
	CPUs     int         `json:"cpus"`
	Requests int         `json:"requests"`
	Keys     int         `json:"keys"`
	Runs     []run       `json:"runs"`
	Steady   []steadyRun `json:"steady"`
}

func (r *report) begin(o options) {
	r.At, r.Go, r.CPUs, r.Requests, r.Keys = time.Now().UTC(), runtime.Version(), runtime.NumCPU(), o.requests, o.keys
}

func (r *report) write(w io.Writer, file string) error {
	if file != "" {
		data, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, append(data, '\n'), 0o600); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(w, "%d requests, %d keys, %d partitions, %d cores, %s; medians, with the range of the ratios\n\n",
		r.Requests, r.Keys, partitions, r.CPUs, r.Go)
	for _, table := range []struct {
		head string
		row  func(cell string) []string
	}{
		{"latency/in flight\tbare HTTP\tplain loop\tcountersign\tof bare\tof plain\tof the ideal\tadded ms bare\tplain\tcountersign", r.speed},
		{"\nlatency/in flight\tCPU µs bare\tplain\tcountersign\tbroker µs plain\tcountersign\tAPI µs bare\tplain\tcountersign\tMiB bare\tplain\tcountersign", r.costs},
	} {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, table.head)
		for _, cell := range r.cells() {
			_, _ = fmt.Fprintln(t, strings.Join(table.row(cell), "\t"))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return r.writeSteady(w)
}

func (r *report) cells() []string {
	var out []string
	for _, run := range r.Runs {
		if !slices.Contains(out, run.Cell) {
			out = append(out, run.Cell)
		}
	}
	return out
}

// of are a contender's values in a cell, one for each round.
func (r *report) of(cell, contender string, value func(run) float64) []float64 {
	var out []float64
	for _, run := range r.Runs {
		if run.Cell == cell && run.Contender == contender {
			out = append(out, value(run))
		}
	}
	return out
}

func (r *report) speed(name string) []string {
	rates := map[string][]float64{}
	row := []string{name}
	for _, c := range contenders {
		rates[c] = r.of(name, c, run.rate)
		row = append(row, number("%.0f/s", rates[c]))
	}
	row = append(row, ratio(rates["countersign"], rates["bare"]), ratio(rates["countersign"], rates["plain"]), r.ideal(name, rates["countersign"]))
	for _, c := range contenders {
		row = append(row, r.added(name, rates[c]))
	}
	return row
}

func (r *report) costs(name string) []string {
	row := []string{name}
	add := func(value func(run) float64, contenders ...string) {
		for _, c := range contenders {
			row = append(row, number("%.0f", r.of(name, c, value)))
		}
	}
	add(run.cpu, contenders...)
	add(run.brokerCPU, contenders[1:]...)
	add(run.apiCPU, contenders...)
	add(func(r run) float64 { return r.MaxRSSMiB }, contenders...)
	return row
}

// added is how much longer than the API takes a call held one of the places in
// flight (Little's law), in milliseconds.
func (r *report) added(name string, rates []float64) string {
	c, err := parseCell(name)
	if err != nil || len(rates) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", (float64(min(c.InFlight, r.Keys))/median(rates)-c.Latency.Seconds())*1000)
}

// ideal is how near a rate comes to min(in flight, keys) ÷ latency.
func (r *report) ideal(name string, rates []float64) string {
	c, err := parseCell(name)
	if err != nil || c.Latency == 0 || len(rates) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", median(rates)*c.Latency.Seconds()/float64(min(c.InFlight, r.Keys)))
}

func number(format string, values []float64) string {
	if len(values) == 0 {
		return "-"
	}
	return fmt.Sprintf(format, median(values))
}

// ratio is the median of the ratios of each round, with their range.
func ratio(a, b []float64) string {
	if len(a) == 0 || len(a) != len(b) {
		return "-"
	}
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return fmt.Sprintf("%.2f (%.2f-%.2f)", median(out), slices.Min(out), slices.Max(out))
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func (r *report) writeSteady(w io.Writer) error {
	if len(r.Steady) == 0 {
		return nil
	}
	_, _ = fmt.Fprintf(w, "\n%d requests a second, %v latency: milliseconds added to the call, medians over the rounds\n\n", r.Steady[0].Rate, steadyLatency)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "\tp50\tp90\tp99\tmax\tCPU µs")
	for _, c := range steadyContenders {
		of := func(value func(steadyRun) float64) float64 {
			var all []float64
			for _, run := range r.Steady {
				if run.Contender == c {
					all = append(all, value(run))
				}
			}
			return median(all)
		}
		_, _ = fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.1f\t%.1f\t%.0f\n", c,
			of(func(s steadyRun) float64 { return s.P50 }), of(func(s steadyRun) float64 { return s.P90 }),
			of(func(s steadyRun) float64 { return s.P99 }), of(func(s steadyRun) float64 { return s.Max }), of(func(s steadyRun) float64 { return s.CPU }))
	}
	return t.Flush()
}
