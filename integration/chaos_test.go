package integration

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/internal/emulator"
)

var (
	chaosRounds = flag.Int("chaos.rounds", 6, "how many times TestChaos strikes")
	chaosSeed   = flag.Uint64("chaos.seed", 0, "of the strikes, the load and the API's faults; 0: by the clock")
	chaosDebug  = flag.Bool("chaos.debug", false, "hosts log at debug level, and their logs are kept")
	chaosOnce   = flag.String("chaos.delivery", "exactly_once", "the hosts' delivery; with at_least_once a result may be there twice")
	chaosRate   = flag.Int("chaos.rate", 40, "requests a second")
)

const (
	chaosHosts = 3
	// What the API does late and what its lists show late add up to less than
	// the settle time, with room for a machine that is slow to schedule.
	chaosLateMax    = 700 * time.Millisecond
	chaosListLagMax = 600 * time.Millisecond

	tokenEnv = "TEST_TOKEN=" + emulator.DefaultAuthToken
)

// scene is what hosts are set in.
type scene struct {
	hosts  int // that run from the start
	faults emulator.Faults
	timing timing
	// config is what hosts run with in place of the chaos' own; nil: that.
	config func(*chaos) []byte
	// at is where it plays; nil: topics of its own on the tests' broker.
	at *place
	// afterWork is emulator.Config's; nil: none.
	afterWork func(emulator.Operation, *http.Request)
}

// timing is that of a host.
type timing struct {
	session, drain, margin, call, settle time.Duration
	concurrency                          int
}

// short timing makes a round take seconds, each time well apart from the next.
func short() timing {
	return timing{
		session: 4 * time.Second, drain: 1500 * time.Millisecond, margin: time.Second,
		call: 800 * time.Millisecond, settle: 2500 * time.Millisecond, concurrency: 32,
	}
}

// config is what a host runs with.
func (c *chaos) config(s timing) []byte {
	return fmt.Appendf(nil, `
kafka:%s
  session_timeout: %v
  rebalance_timeout: %v
  lease_margin: %v
  transaction_timeout: 5s
  create_topics: true
  partitions: %d
delivery: %s
drain_timeout: %v
recovery: {settle: %v, apart: 250ms}
accounts:
  main:
    account_sid: %s
    auth_token: ${env:TEST_TOKEN}
    base_url: %s
    timeout: %v
    rate: {concurrency: %d}
    breaker: {open: 500ms}
`, c.yaml(), s.session, s.session, s.margin, partitions, *chaosOnce, s.drain, s.settle,
		emulator.DefaultAccountSID, c.api.URL(), s.call, s.concurrency)
}

// chaosFaults strike creates and reads alike, while hosts are struck too.
func chaosFaults() emulator.Faults {
	return emulator.Faults{
		Latency:      emulator.Latency{Min: 2 * time.Millisecond, Max: 150 * time.Millisecond, TailRate: 0.005, Tail: 900 * time.Millisecond, AfterShare: 0.6},
		ThrottleRate: 0.01, ServerErrorRate: 0.01, ServerErrorAfterRate: 0.01,
		ResetBeforeRate: 0.01, ResetAfterRate: 0.2, GarbledRate: 0.005,
		LateRate: 0.01, ResetLateRate: 0.02, LateMin: 50 * time.Millisecond, LateMax: chaosLateMax,
		ListLag: time.Millisecond, ListLagMax: chaosListLagMax,
	}
}

// strike is one thing that was done to a host, for the report.
type strike struct {
	at    time.Time
	round int
	host  string
	what  string
}

// chaos is the world that outlives every kill: broker, API, load and judges in
// this process, hosts in their own.
type chaos struct {
	place
	t       testing.TB
	timing  timing
	seed    uint64
	dir     string
	bin     string
	api     *emulator.Emulator
	hosts   []*instance
	started time.Time

	mu      sync.Mutex
	strikes []strike
	kinds   map[string]int
}

// TestChaos strikes hosts at random moments, with an API that errs all the
// time, and then lets independent readers count: per request id at most one
// challenge, exactly one where the result says so and none where it says no;
// one primary result or bare dead letter per record; nothing lost. make chaos
// ROUNDS=100 is the long version.
func TestChaos(t *testing.T) {
	c := newChaos(t, scene{hosts: chaosHosts, faults: chaosFaults(), timing: short()})
	load := newLoad(c)
	load.begin()
	c.await("the first results", time.Minute, func() bool { return load.answered() > 100 })
	c.rounds(*chaosRounds)
	load.end()
	c.await("every request to be answered", 3*time.Minute, func() bool { return load.answered() >= load.sent() })
	c.leave()
	c.judge(load).report()
	c.auditsClean(c.t)
}

func newChaos(t *testing.T, s scene) *chaos {
	t.Helper()
	at := s.at
	if at == nil {
		at = new(newPlace(t))
	}
	c := &chaos{place: *at, t: &repeating{TB: t}, timing: s.timing, seed: *chaosSeed, kinds: map[string]int{}, started: time.Now()}
	if c.seed == 0 {
		c.seed = uint64(c.started.UnixNano())
	}
	t.Logf("seed %d", c.seed)
	var err error
	c.bin, err = binary()
	must(t, err)
	c.dir, err = os.MkdirTemp("", "countersign-chaos-") //nolint:usetesting // it is kept where the test fails
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() || *chaosDebug {
			t.Logf("seed %d; logs of the hosts: %s", c.seed, c.dir)
			c.t.(*repeating).repeat()
			return
		}
		must(t, os.RemoveAll(c.dir))
	})
	c.make(t, partitions)
	if s.at == nil {
		c.allowSessions(s.timing.session)
	}
	c.api, err = emulator.New(emulator.Config{Seed: c.seed, Faults: s.faults, AfterWork: s.afterWork})
	must(t, err)
	must(t, c.api.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		must(t, c.api.Close(ctx))
	})
	config := c.config(s.timing)
	if s.config != nil {
		config = s.config(c)
	}
	must(t, os.WriteFile(filepath.Join(c.dir, "countersign.yaml"), config, 0o600))
	for range s.hosts {
		c.enter()
	}
	t.Cleanup(func() {
		for _, i := range c.hosts {
			i.sweep()
		}
	})
	return c
}

// enter starts one more host.
func (c *chaos) enter() *instance {
	c.t.Helper()
	i := &instance{t: c.t, name: fmt.Sprintf("host-%d", len(c.hosts)+1), dir: c.dir, config: filepath.Join(c.dir, "countersign.yaml")}
	must(c.t, i.start(c.bin))
	c.hosts = append(c.hosts, i)
	return i
}

// allowSessions lowers the shortest session that an embedded broker accepts.
// Apache Kafka takes group.min.session.timeout.ms at its start only.
func (c *chaos) allowSessions(shortest time.Duration) {
	c.t.Helper()
	if shared != nil {
		return
	}
	client := c.client()
	defer client.Close()
	ms := fmt.Sprint(shortest.Milliseconds())
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType = kmsg.ConfigResourceTypeBroker
	entry := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	entry.Name, entry.Value = "group.min.session.timeout.ms", &ms
	resource.Configs = append(resource.Configs, entry)
	req.Resources = append(req.Resources, resource)
	res, err := req.RequestWith(c.t.Context(), client)
	must(c.t, err)
	if code := res.Resources[0].ErrorCode; code != 0 {
		c.t.Fatalf("the broker keeps its shortest session: error %d", code)
	}
}

// client is a franz-go client for the broker: the judges' own way to Kafka.
func (c *chaos) client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.addrs...)}, opts...)...)
	must(c.t, err)
	return client
}

// await polls until the condition holds; a chaos that waits in vain is judged
// all the same, for what it shows.
func (c *chaos) await(what string, atMost time.Duration, holds func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(atMost)
	for !holds() {
		if time.Now().After(deadline) {
			c.t.Errorf("waited %v for %s", atMost, what)
			return
		}
		<-time.After(50 * time.Millisecond)
		c.revive()
	}
}

// revive starts again what ended without being told to, which is a fault.
func (c *chaos) revive() {
	for _, i := range c.hosts {
		if err := i.surprise(); err != nil {
			c.t.Errorf("%s %v", i.name, err)
			must(c.t, i.start(c.bin))
		}
	}
}

// note keeps a strike for the report.
func (c *chaos) note(round int, i *instance, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.strikes = append(c.strikes, strike{time.Now(), round, i.name, fmt.Sprintf(format, args...)})
}

// blow is a way to strike, with its share of all.
type blow struct {
	name  string
	share int
	do    func(c *chaos, rng *rand.Rand, round int, i *instance)
}

func blows() []blow {
	return []blow{
		{"kill -9 host and plugin", 8, func(c *chaos, _ *rand.Rand, round int, i *instance) {
			c.note(round, i, "killed with its plugin: %s", shown2(i.kill(false)))
			must(c.t, i.start(c.bin))
		}},
		{"kill -9 host, orphan plugin", 3, func(c *chaos, _ *rand.Rand, round int, i *instance) {
			c.note(round, i, "killed, its plugin spared: %s", shown2(i.kill(true)))
			must(c.t, i.start(c.bin))
		}},
		{"kill -9 plugin", 3, func(c *chaos, _ *rand.Rand, round int, i *instance) {
			_, plugin := i.processes()
			plugin.signal(syscall.SIGKILL)
			c.note(round, i, "plugin killed: %s", shown(plugin))
		}},
		{"kill -9 every host", 2, func(c *chaos, _ *rand.Rand, round int, _ *instance) {
			for _, i := range c.hosts {
				c.note(round, i, "killed with all others: %s", shown2(i.kill(false)))
			}
			for _, i := range c.hosts {
				must(c.t, i.start(c.bin))
			}
		}},
		{"SIGSTOP below the session", 3, func(c *chaos, rng *rand.Rand, round int, i *instance) {
			c.pause(round, i, between(rng, c.timing.session/8, c.timing.session*5/8))
		}},
		{"SIGSTOP beyond the session", 3, func(c *chaos, rng *rand.Rand, round int, i *instance) {
			c.pause(round, i, between(rng, c.timing.session*5/4, c.timing.session*2))
		}},
		{"SIGSTOP beyond it, heir killed", 2, func(c *chaos, rng *rand.Rand, round int, i *instance) {
			heir := c.hosts[(slices.Index(c.hosts, i)+1)%len(c.hosts)]
			at := between(rng, c.timing.session, c.timing.session*3/2)
			var killing sync.WaitGroup
			killing.Go(func() {
				<-time.After(at)
				c.note(round, heir, "killed with its plugin: %s", shown2(heir.kill(false)))
				if err := heir.start(c.bin); err != nil {
					c.t.Error(err)
				}
			})
			c.pause(round, i, c.timing.session*2)
			killing.Wait()
		}},
	}
}

func shown2(host, plugin process) string { return shown(host, plugin) }

// pause stops host and plugin, as a machine that is suspended does.
func (c *chaos) pause(round int, i *instance, d time.Duration) {
	host, plugin := i.processes()
	plugin.signal(syscall.SIGSTOP)
	host.signal(syscall.SIGSTOP)
	c.note(round, i, "stopped for %v: %s", d.Round(time.Millisecond), shown(host, plugin))
	<-time.After(d)
	plugin.signal(syscall.SIGCONT)
	host.signal(syscall.SIGCONT)
	c.note(round, i, "goes on: %s", shown(host, plugin))
}

func between(rng *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rng.Int64N(int64(high-low)))
}

// rounds strikes at random moments, so that some blows fall on hosts that are
// in the middle of recovering from the last.
func (c *chaos) rounds(n int) {
	rng := rand.New(rand.NewPCG(c.seed, 1))
	all, shares := blows(), 0
	for _, b := range all {
		shares += b.share
	}
	for round := 1; round <= n; round++ {
		<-time.After(between(rng, 2*time.Second, 9*time.Second))
		c.revive()
		i := c.hosts[rng.IntN(len(c.hosts))]
		draw := rng.IntN(shares)
		for _, b := range all {
			if draw -= b.share; draw < 0 {
				b.do(c, rng, round, i)
				c.kinds[b.name]++
				break
			}
		}
		if round%10 == 0 {
			c.t.Logf("round %d of %d after %v", round, n, time.Since(c.started).Round(time.Second))
		}
	}
}

// leave ends every host in good order; no process may be left.
func (c *chaos) leave() {
	// A host that is asked to end while its plugin is down says so by its exit code.
	c.await("every host to have its plugin", patience, func() bool {
		return !slices.ContainsFunc(c.hosts, func(i *instance) bool { return !i.left() && !i.hosting() })
	})
	for _, i := range c.hosts {
		if i.left() {
			continue
		}
		c.note(0, i, "SIGTERM")
		if err := i.drain(time.Minute); err != nil {
			c.t.Errorf("%s ended with %v", i.name, err)
		}
	}
	for _, i := range c.hosts {
		for _, p := range i.sweep() {
			c.t.Errorf("plugin %d outlived its host %s", p.pid, i.name)
		}
	}
}
