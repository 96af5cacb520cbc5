package scale

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/emulator"
)

// assignment is how long a group takes to come to rest.
type assignment struct {
	Partitions int     `json:"partitions"`
	Members    int     `json:"members"`
	Start      float64 `json:"start_seconds"` // from the last member's start until every lane fetches
	Join       float64 `json:"join_seconds"`  // the same when one more joins
	Leave      float64 `json:"leave_seconds"` // from SIGTERM to that one
}

// idle is what members without work cost, all together.
type idle struct {
	Partitions int     `json:"partitions"`
	Members    int     `json:"members"`
	CPU        float64 `json:"cpu_percent"` // of one core
	BrokerCPU  float64 `json:"broker_cpu_percent"`
	Writes     float64 `json:"writes_per_second"` // system calls
	RSS        int64   `json:"rss"`
	Heap       int64   `json:"heap"` // after a garbage collection
	Goroutines int     `json:"goroutines"`
	FDs        int     `json:"fds"`
}

type report struct {
	Assignments []assignment `json:"assignments"`
	Idle        []idle       `json:"idle"`
	LaneHeap    int64        `json:"lane_heap"` // bytes a lane, from the fewest to the most partitions of one member
	LaneRSS     int64        `json:"lane_rss"`
}

// TestScale measures; it fails only where a group does not come to rest.
func TestScale(t *testing.T) {
	k := startKafka(t)
	var r report
	sizes := numbers(t, *scaleSizes)
	for _, partitions := range numbers(t, *scaleParts) {
		s := newStage(t, k.Addrs(), partitions, "", emulator.Faults{})
		s.firstRecords()
		for _, n := range sizes {
			r.Assignments = append(r.Assignments, s.assign(n, &r))
			fmt.Printf("%+v\n", r.Assignments[len(r.Assignments)-1])
		}
	}
	first, last := lone(r.Idle)
	if lanes := int64(last.Partitions - first.Partitions); lanes > 0 {
		r.LaneHeap, r.LaneRSS = (last.Heap-first.Heap)/lanes, (last.RSS-first.RSS)/lanes
	}
	fmt.Println(r)
	if *scaleOut != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		must(t, err)
		must(t, os.WriteFile(*scaleOut, append(text, '\n'), 0o600))
	}
}

// assign starts n members at once, watches one or all partitions' worth of
// them idle, lets one more come and go, and ends them.
func (s *stage) assign(n int, r *report) assignment {
	s.t.Helper()
	a := assignment{Partitions: s.partitions, Members: n}
	var members []*member
	for range n {
		members = append(members, s.member())
	}
	s.await(fmt.Sprintf("%d members to share %d partitions", n, s.partitions), func() bool { return s.stable(members...) })
	a.Start = time.Since(members[n-1].began).Seconds()
	if n == 1 || n == 8 {
		r.Idle = append(r.Idle, s.idle(members))
		fmt.Printf("%+v\n", r.Idle[len(r.Idle)-1])
	}
	more := s.member()
	all := append(members[:n:n], more)
	s.await("one more member", func() bool { return s.stable(all...) })
	a.Join = time.Since(more.began).Seconds()
	began := time.Now()
	more.terminate()
	s.await("one member less", func() bool { return more.gone() && s.stable(members...) })
	a.Leave = time.Since(began).Seconds()
	more.ended()
	for _, m := range members {
		m.terminate()
	}
	for _, m := range members {
		m.ended()
	}
	return a
}

// idle watches members that have nothing to do.
func (s *stage) idle(members []*member) idle {
	s.t.Helper()
	<-time.After(3 * time.Second) // what a lane does once after it has begun
	broker := brokerPID()
	began, brokerBefore := time.Now(), used(broker)
	before := make([]usage, len(members))
	for i, m := range members {
		before[i] = used(m.cmd.Process.Pid)
	}
	<-time.After(*scaleIdle)
	took := time.Since(began)
	out := idle{Partitions: s.partitions, Members: len(members)}
	percent := func(d time.Duration) float64 { return math.Round(1000*d.Seconds()/took.Seconds()) / 10 }
	var all usage
	for i, m := range members {
		u := used(m.cmd.Process.Pid).since(before[i])
		all.cpu, all.writes = all.cpu+u.cpu, all.writes+u.writes
	}
	out.CPU, out.BrokerCPU = percent(all.cpu), percent(used(broker).since(brokerBefore).cpu)
	out.Writes = math.Round(float64(all.writes) / took.Seconds())
	for _, m := range members {
		out.RSS += rss(m.cmd.Process.Pid)
		f := m.figures("?gc=1")
		out.Heap, out.Goroutines, out.FDs = out.Heap+f.HeapLive, out.Goroutines+f.Goroutines, out.FDs+f.FDs
	}
	if *profileDir != "" && len(members) == 1 {
		for name, path := range map[string]string{"cpu": "/cpu?seconds=15", "heap": "/heap?gc=1"} {
			text, err := members[0].get(path)
			must(s.t, err)
			must(s.t, os.WriteFile(filepath.Join(*profileDir, fmt.Sprintf("idle-%d.%s.pprof", s.partitions, name)), text, 0o600))
		}
	}
	return out
}

// lone returns the first and the last figures of a single member.
func lone(all []idle) (first, last idle) {
	for _, i := range all {
		if i.Members == 1 {
			if first.Members == 0 {
				first = i
			}
			last = i
		}
	}
	return first, last
}

// String is the report as tables.
func (r report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\npartitions members  start s   join s  leave s\n")
	for _, a := range r.Assignments {
		fmt.Fprintf(&b, "%10d %7d %8.2f %8.2f %8.2f\n", a.Partitions, a.Members, a.Start, a.Join, a.Leave)
	}
	fmt.Fprintf(&b, "\npartitions members  CPU %%  broker CPU %%  writes/s  RSS MiB  heap MiB  goroutines   fds\n")
	for _, i := range r.Idle {
		fmt.Fprintf(&b, "%10d %7d %6.1f %13.1f %9.0f %8.1f %9.2f %11d %5d\n", i.Partitions, i.Members, i.CPU, i.BrokerCPU, i.Writes, mib(i.RSS), mib(i.Heap), i.Goroutines, i.FDs)
	}
	fmt.Fprintf(&b, "\na lane: %d KiB of heap, %d KiB of RSS\n", r.LaneHeap>>10, r.LaneRSS>>10)
	return b.String()
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func numbers(t *testing.T, list string) (out []int) {
	t.Helper()
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		must(t, err)
		out = append(out, n)
	}
	return out
}
