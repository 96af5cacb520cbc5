package connector

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
)

// sim is one run of the simulation: the real lane code of several processes
// around models of the broker, its group coordinator and the API, all in virtual
// time. What chance decides is a hash of the seed, of what is decided and of how
// often that was decided before, so that a seed tells the same story again even
// where the scheduler takes turns differently.
type sim struct {
	t     testing.TB
	seed  uint64
	plan  simPlan
	began time.Time
	over  chan struct{} // closed when everything of the run shall end

	mu      sync.Mutex // guards all models of the run
	broker  *simBroker
	group   *simGroup
	api     *simAPI
	slots   []*simSlot
	work    []*simRecord // written
	made    []*simRecord // with a good request
	byID    map[string][]*simRecord
	byPlace map[simPlace]*simRecord
	cover   map[string]int
	wrong   []string
	story   []string

	// script says what becomes of the calls of a directed test, by operation and
	// request id, or by "look" and the factor's number.
	script map[string][]simFate
	hold   map[string]*simHold // likewise for requests to the brokers, by what they ask
	looked map[string]int      // lists that were asked for, by factor

	rollMu sync.Mutex
	counts map[string]uint64
	calm   bool // no more faults; guarded by rollMu

	goroutines sync.WaitGroup
}

// simPlan is what a seed decides at the start.
type simPlan struct {
	partitions, processes, records int
	exactlyOnce                    bool
	arrivals                       time.Duration // over which the records arrive
	trouble                        time.Duration // after which there are no more faults
	span, slots                    int
	perSecond                      float64
	skew                           time.Duration // of the API's clock
	broker, api, crash             float64       // how likely a step fails, an answer is bad, a step is a process's last
	deaf                           bool          // a process takes no notice of heartbeats that fail
	notAfter                       time.Duration
	transaction                    time.Duration // after which the brokers abort one
	longNight                      bool          // everything is down for longer than the API shows challenges
	guard                          GuardConfig
}

// The times of the simulated configuration. They keep the proportions of the
// defaults.
const (
	simSessionTime  = 10 * time.Second
	simRebalance    = 14 * time.Second
	simMargin       = 2 * time.Second
	simDrain        = 4 * time.Second
	simTimeout      = 2 * time.Second // of a call
	simSettle       = 2 * simTimeout
	simTransaction  = 5 * time.Second
	simRPC          = 900 * time.Millisecond
	simLastEffect   = 2600 * time.Millisecond // after the send, at the latest
	simMostLag      = 900 * time.Millisecond  // from the effect to its sight, on the slowest replica
	simPageSize     = 3
	simTopicRequest = "requests"
)

func newSim(t testing.TB, seed uint64) *sim {
	t.Helper()
	return &sim{
		t: t, seed: seed, began: time.Now(), over: make(chan struct{}),
		byID: map[string][]*simRecord{}, byPlace: map[simPlace]*simRecord{}, cover: map[string]int{}, looked: map[string]int{}, hold: map[string]*simHold{}, counts: map[string]uint64{},
	}
}

// roll is the next number for a decision.
func (w *sim) roll(what string) uint64 {
	w.rollMu.Lock()
	n := w.counts[what]
	w.counts[what] = n + 1
	w.rollMu.Unlock()
	h := fnv.New64a()
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], w.seed)
	binary.LittleEndian.PutUint64(b[8:], n)
	_, _ = h.Write(b[:])
	_, _ = h.Write([]byte(what))
	x := h.Sum64() // FNV leaves neighbours near each other
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

func (w *sim) below(n int, what string) int { return int(w.roll(what) % uint64(n)) }

// happens decides something that has nothing to do with faults.
func (w *sim) happens(p float64, what string) bool {
	return float64(w.roll(what)>>11)/(1<<53) < p
}

// fails decides a fault; none happens once all is calm.
func (w *sim) fails(p float64, what string) bool {
	w.rollMu.Lock()
	calm := w.calm
	w.rollMu.Unlock()
	return !calm && w.happens(p, what)
}

// between is a time of its own for each use, so that hardly any two coincide.
func (w *sim) between(lo, hi time.Duration, what string) time.Duration {
	return lo + time.Duration(w.roll(what)%uint64(hi-lo))
}

// after runs do in virtual time, unless the run is over by then.
func (w *sim) after(d time.Duration, do func()) { time.AfterFunc(d, do) }

// rest waits and reports false where the run or ctx ended first.
func (w *sim) rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-w.over:
	}
	return false
}

const simStory = 4000

// note adds a line to the story. The caller holds mu.
func (w *sim) note(format string, args ...any) {
	if len(w.story) < simStory {
		w.story = append(w.story, fmt.Sprintf("%10.4fs ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
	}
}

// violate takes note of something that must never happen. The caller holds mu.
func (w *sim) violate(format string, args ...any) {
	w.note("VIOLATION: "+format, args...)
	if len(w.wrong) < 20 {
		w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
	}
}

// saw counts that a state was reached. The caller holds mu.
func (w *sim) saw(what string) { w.cover[what]++ }

func (w *sim) locked(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

const simWrong = "WRONG: "

// report is the story with what was wrong, for a failing run.
func (w *sim) report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, plan %+v\n", w.seed, w.plan)
	for _, line := range w.story {
		b.WriteString(line + "\n")
	}
	for _, line := range w.wrong {
		b.WriteString(simWrong + line + "\n")
	}
	return b.String()
}

// draw decides what kind of run a seed is.
func (w *sim) draw() {
	p := simPlan{
		partitions: 1 + w.below(3, "plan partitions"), processes: 1 + w.below(3, "plan processes"), records: 4 + w.below(24, "plan records"),
		exactlyOnce: !w.happens(0.2, "plan delivery"),
		arrivals:    w.between(time.Second, 40*time.Second, "plan arrivals"),
		span:        []int{8, 64, 1024}[w.below(3, "plan span")], slots: []int{1, 4, 16}[w.below(3, "plan slots")],
		skew:     []time.Duration{0, 0, 1500 * time.Millisecond, -1500 * time.Millisecond, 45 * time.Second, -45 * time.Second}[w.below(6, "plan skew")],
		broker:   []float64{0, 0.02, 0.1, 0.25}[w.below(4, "plan broker")],
		api:      []float64{0, 0.2, 0.5, 0.8}[w.below(4, "plan api")],
		crash:    []float64{0, 0.003, 0.012}[w.below(3, "plan crash")],
		deaf:     w.happens(0.4, "plan deaf"),
		notAfter: []time.Duration{20 * time.Second, 5 * time.Minute, time.Hour}[w.below(3, "plan not_after")],
	}
	p.trouble = p.arrivals + w.between(5*time.Second, 30*time.Second, "plan trouble")
	if w.happens(0.3, "plan rate") {
		p.perSecond = 2
	}
	p.transaction = simTransaction
	p.longNight = w.happens(0.06, "plan night")
	if w.happens(0.25, "plan guard") {
		p.guard = simGuard(w)
	}
	w.plan = p
}

// sortedCover is the coverage as lines.
func sortedCover(cover map[string]int) string {
	names := make([]string, 0, len(cover))
	for name := range cover {
		names = append(names, name)
	}
	sort.Strings(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%8d  %s\n", cover[name], name)
	}
	return b.String()
}
