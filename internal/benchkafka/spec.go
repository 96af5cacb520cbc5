package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"
)

// spec tells a process what to do.
type spec struct {
	Name     string        `json:"name"` // of the measurement, for files
	Brokers  []string      `json:"brokers"`
	API      string        `json:"api"`
	Run      string        `json:"run"` // prefix of topics and group
	Latency  time.Duration `json:"latency"`
	Factors  []factor      `json:"factors"`
	Keys     int           `json:"keys"`
	Requests int           `json:"requests"` // zero: until stdin ends
	InFlight int           `json:"in_flight"`
	Delivery string        `json:"delivery"`
	Profiles string        `json:"profiles"` // folder; empty: none
}

func (s spec) requests() string    { return s.Run + ".requests" }
func (s spec) results() string     { return s.Run + ".results" }
func (s spec) deadLetters() string { return s.Run + ".deadletters" }
func (s spec) ledger() string      { return s.Run + ".ledger" }
func (s spec) positions() string   { return s.Run + ".positions" }
func (s spec) group() string       { return s.Run + ".group" }

type factor struct {
	Service  string `json:"service"`
	Identity string `json:"identity"`
	SID      string `json:"sid"`
}

// said is what a process writes on stdout, one line each.
type said struct {
	Ready   bool      `json:"ready,omitempty"`
	URL     string    `json:"url,omitempty"`
	Factors []factor  `json:"factors,omitempty"`
	Measure *measured `json:"measure,omitempty"`
}

// measured is what a contender needed between its first and its last request.
type measured struct {
	Requests  int     `json:"requests"`
	Seconds   float64 `json:"seconds"`
	User      float64 `json:"user_seconds"`
	System    float64 `json:"system_seconds"`
	MaxRSSMiB float64 `json:"max_rss_mib"`
	HeapMiB   float64 `json:"heap_mib"` // in use at the end
	Allocs    float64 `json:"allocs_per_request"`
	Bytes     float64 `json:"alloc_bytes_per_request"`
	Commits   int64   `json:"commits,omitempty"`
}

// meter measures the process that it is in.
type meter struct {
	spec  spec
	out   *json.Encoder
	began time.Time
	use   syscall.Rusage
	mem   runtime.MemStats
	cpu   *os.File
}

func (m *meter) say(s said) error { return m.out.Encode(s) }

func (m *meter) start() error {
	if m.spec.Profiles != "" {
		runtime.SetMutexProfileFraction(100)
		f, err := os.Create(m.profile("cpu"))
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		m.cpu = f
	}
	runtime.ReadMemStats(&m.mem)
	m.use = usage()
	m.began = time.Now()
	return nil
}

func (m *meter) stop(requests int, commits int64) error {
	took := time.Since(m.began)
	now := usage()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	out := measured{
		Requests: requests, Seconds: took.Seconds(), Commits: commits,
		User: seconds(now.Utime) - seconds(m.use.Utime), System: seconds(now.Stime) - seconds(m.use.Stime),
		MaxRSSMiB: float64(now.Maxrss) / 1024, HeapMiB: float64(mem.HeapInuse) / (1 << 20),
		Allocs: float64(mem.Mallocs-m.mem.Mallocs) / float64(requests), Bytes: float64(mem.TotalAlloc-m.mem.TotalAlloc) / float64(requests),
	}
	if m.cpu != nil {
		pprof.StopCPUProfile()
		if err := m.cpu.Close(); err != nil {
			return err
		}
		for _, kind := range []string{"mutex", "allocs"} {
			f, err := os.Create(m.profile(kind))
			if err != nil {
				return err
			}
			if err := pprof.Lookup(kind).WriteTo(f, 0); err != nil {
				return err
			}
			if err := f.Close(); err != nil {
				return err
			}
		}
	}
	return m.say(said{Measure: &out})
}

func (m *meter) profile(kind string) string {
	return filepath.Join(m.spec.Profiles, fmt.Sprintf("%s.%s.pprof", m.spec.Name, kind))
}

func usage() syscall.Rusage {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // fails only for another who
	return u
}

func seconds(t syscall.Timeval) float64 { return time.Duration(t.Nano()).Seconds() }
