package scale

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

const soakPartitions = 8

// pace is what a soak of some length is divided into.
type pace struct {
	horizon time.Duration // of the ledger, which bounds its memory
	period  time.Duration // in the middle third of each there is a second member
	sample  time.Duration
	settle  time.Duration // after a change of the group figures do not count for so long
}

func paceOf(d time.Duration) pace {
	within := func(d, least, most time.Duration) time.Duration {
		return min(max(d, least), most).Round(time.Second)
	}
	return pace{
		horizon: within(d/10, 10*time.Second, 3*time.Minute), period: within(d/10, 30*time.Second, 3*time.Minute),
		sample: within(d/360, time.Second, 5*time.Second), settle: within(d/180, 4*time.Second, 10*time.Second),
	}
}

// TestSoak keeps one member at work for long, on steady load and an API that
// errs a little, while another joins and leaves, or is killed. The one that
// stays must not grow, and in the end independent readers count.
func TestSoak(t *testing.T) {
	k := startKafka(t)
	p := paceOf(*soakFor)
	s := newStage(t, k.Addrs(), soakPartitions, fmt.Sprintf("ledger: {horizon: %v}\ndrain_timeout: 4s\nrecovery: {settle: 10s}\n", p.horizon), emulator.Faults{
		Latency:      emulator.Latency{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond},
		ThrottleRate: 0.002, ServerErrorRate: 0.002, ResetBeforeRate: 0.001, ResetAfterRate: 0.002,
	})
	s.session = 12 * time.Second
	s.firstRecords()
	watched := s.member()
	s.await("the member to own all partitions", func() bool { return s.stable(watched) })
	load := s.load(*soakRate)
	samples := s.soak(watched, p)
	load.end()
	s.judge(t, load, samples)
	watched.leave()
}

// soak lets the time pass. A second member comes and goes in every period;
// each third one is killed.
func (s *stage) soak(watched *member, p pace) []sample {
	s.t.Helper()
	var out *json.Encoder
	if *soakOut != "" {
		f, err := os.Create(*soakOut)
		must(s.t, err)
		defer func() { _ = f.Close() }()
		out = json.NewEncoder(f)
	}
	began, changed := time.Now(), time.Now()
	var samples []sample
	var guest *member
	guests := 0
	tick := time.NewTicker(p.sample)
	defer tick.Stop()
	for now := range tick.C {
		at := now.Sub(began)
		if at > *soakFor {
			break
		}
		phase := at % p.period
		switch here := phase > p.period/3 && phase < p.period*2/3; {
		case here && guest == nil:
			guest, changed = s.member(), now
			guests++
		case !here && guest != nil && guests%3 == 0:
			guest.kill()
			guest, changed = nil, now
		case !here && guest != nil:
			guest.leave()
			guest, changed = nil, now
		}
		f := watched.figures("?gc=1")
		if f.Lanes != s.partitions || f.Begun != f.Lanes {
			changed = now
		}
		// The ledger is as full as it gets after one horizon.
		x := sample{At: at.Seconds(), Counts: at > 2*p.horizon && now.Sub(changed) > p.settle, figures: f}
		samples = append(samples, x)
		if out != nil {
			must(s.t, out.Encode(x))
		}
		if len(samples)%60 == 0 {
			fmt.Printf("after %v: %d records, %d goroutines, heap %.1f MiB, RSS %.1f MiB, %d fds, %d guests so far\n",
				at.Round(time.Second), f.Records, f.Goroutines, mib(f.HeapLive), mib(f.RSS), f.FDs, guests)
		}
	}
	if guest != nil {
		guest.leave()
	}
	fmt.Printf("%d guests came and went\n", guests)
	return samples
}

// load is a producer with a steady rate.
type load struct {
	end func() // returns when everything is acknowledged

	mu  sync.Mutex
	ids map[string]bool // acknowledged, by request id
}

func (s *stage) load(rate int) *load {
	s.t.Helper()
	l := &load{ids: map[string]bool{}}
	client := s.client()
	ctx, stop := context.WithCancel(s.t.Context())
	var producer sync.WaitGroup
	producer.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		began, n := time.Now(), 0
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				for ; n < int(now.Sub(began).Seconds()*float64(rate)); n++ {
					id := fmt.Sprintf("create-%07d", s.sent)
					client.Produce(s.t.Context(), s.request(), func(_ *kgo.Record, err error) {
						if err != nil {
							s.t.Error(err)
							return
						}
						l.mu.Lock()
						defer l.mu.Unlock()
						l.ids[id] = true
					})
				}
			}
		}
	})
	l.end = sync.OnceFunc(func() {
		stop()
		producer.Wait()
		if err := client.Flush(context.WithoutCancel(ctx)); err != nil {
			s.t.Error(err)
		}
		client.Close()
	})
	s.t.Cleanup(l.end)
	return l
}

// judge counts results and challenges, which none of the members has a say in,
// and looks whether the watched member has grown.
func (s *stage) judge(t *testing.T, l *load, samples []sample) {
	t.Helper()
	outcomes, answers := map[schemas.Outcome]int{}, map[string]int{}
	reader := s.client(kgo.ConsumeTopics(s.topic("results"), s.topic("deadletters")), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer reader.Close()
	lost := func() (n int) {
		for id := range l.ids {
			if answers[id] == 0 {
				n++
			}
		}
		return n
	}
	deadline := time.Now().Add(patience)
	// After the last missing answer it reads on for a while: a second one may come late.
	for quiet := 0; quiet < 3 && time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		fetches := reader.PollFetches(ctx)
		cancel()
		for r := range fetches.RecordsAll() {
			if r.Topic == s.topic("deadletters") {
				t.Errorf("a dead letter: %s", r.Key)
				continue
			}
			res, _, err := schemas.DecodeResult(r.Value)
			must(t, err)
			answers[res.RequestID]++
			outcomes[res.Outcome]++
		}
		if fetches.NumRecords() > 0 {
			quiet = 0
		} else if lost() == 0 {
			quiet++
		}
	}
	twice, made, unmade := 0, map[string]int{}, 0
	for id, n := range answers {
		if n > 1 {
			twice++
			t.Errorf("%s has %d results", id, n)
		}
	}
	called := 0
	for _, c := range s.api.Created() {
		if id := c.HiddenDetails[requestField]; id != "" {
			if made[id]++; made[id] == 2 {
				called++
				t.Errorf("%s has more than one challenge", id)
			}
		}
	}
	for id := range l.ids {
		if made[id] == 0 {
			unmade++
		}
	}
	fmt.Printf("%d requests: lost %d, answered twice %d, called twice %d, without a challenge %d, outcomes %v\n", len(l.ids), lost(), twice, called, unmade, outcomes)
	if n := lost(); n > 0 {
		t.Errorf("%d requests have no answer", n)
	}
	if ended := outcomes[schemas.OutcomeSucceeded] + outcomes[schemas.OutcomeAdopted]; len(l.ids)-unmade > ended {
		t.Errorf("%d requests have a challenge, %d say so", len(l.ids)-unmade, ended)
	}
	for _, g := range growth(samples, paceOf(*soakFor).period) {
		fmt.Println(g)
		if g.fault() {
			t.Errorf("it grows: %v", g)
		}
	}
}
