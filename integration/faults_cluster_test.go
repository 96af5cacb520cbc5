package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/integration/cluster"
)

// faulted is a chaos on a cluster whose brokers are struck, not its hosts.
type faulted struct {
	*chaos
	cluster *cluster.JarsCluster
	load    *load
}

func (f *faulted) mark(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.strikes = append(f.strikes, strike{time.Now(), 0, "the cluster", fmt.Sprintf(format, args...)})
}

// down kills brokers and starts them again after a while.
func (f *faulted) down(d time.Duration, nodes ...*cluster.Node) {
	f.t.Helper()
	f.each(nodes, (*cluster.Node).Kill)
	f.mark("%d brokers killed", len(nodes))
	<-time.After(d)
	f.up(nodes...)
}

// shrunk kills a broker and makes what is left of the in-sync replicas too few for
// topics, for d at least. It does so once the hosts work with fewer: what is under
// way when the broker dies waits for it in vain, and then for the transaction's
// markers, of which nobody is told that too few are in sync.
func (f *faulted) shrunk(d time.Duration, n *cluster.Node, topics ...string) {
	f.t.Helper()
	must(f.t, n.Kill())
	f.mark("broker %d killed", n.ID())
	f.await("in-sync replicas to be fewer", time.Minute, func() bool {
		res, err := f.metadata()
		return err == nil && !slices.ContainsFunc(res.Topics, func(t kmsg.MetadataResponseTopic) bool {
			return slices.ContainsFunc(t.Partitions, func(p kmsg.MetadataResponseTopicPartition) bool {
				return slices.Contains(p.ISR, int32(n.ID()))
			})
		})
	})
	fewer := time.Now()
	f.await("answers with fewer replicas", 3*time.Minute, func() bool { return f.load.since(fewer) > settled && f.caughtUp() && f.ready() })
	began := time.Now()
	f.require(3, topics...)
	f.mark("more replicas required than are in sync")
	<-time.After(d)
	f.hear(notEnoughReplicas, began, time.Minute)
	f.up(n)
	f.require(2, topics...)
}

// hear waits until a host says something, for so long. Lanes that wait in vain for the
// dead broker, for a transaction to end or for a partition first have more to say of
// that. Whether it was said is judged when the fault is over.
func (f *faulted) hear(what string, since time.Time, atMost time.Duration) {
	says := regexp.MustCompile(what)
	for deadline := time.Now().Add(atMost); time.Now().Before(deadline); <-time.After(200 * time.Millisecond) {
		if slices.ContainsFunc(f.lines(since, time.Now()), func(l logLine) bool { return says.MatchString(l.Error) }) {
			return
		}
	}
}

// up starts brokers and returns when all of the cluster answer.
func (f *faulted) up(nodes ...*cluster.Node) {
	f.t.Helper()
	f.each(nodes, func(n *cluster.Node) error { return n.Launch(f.t.Context()) })
	f.await("the brokers to answer", 5*time.Minute, func() bool {
		res, err := f.metadata()
		return err == nil && len(res.Brokers) == len(f.cluster.Nodes())
	})
	f.mark("%d brokers started", len(nodes))
}

func (f *faulted) each(nodes []*cluster.Node, do func(*cluster.Node) error) {
	f.t.Helper()
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = do(n) })
	}
	wg.Wait()
	for _, err := range errs {
		must(f.t, err)
	}
}

// roll restarts one broker after the other in good order.
func (f *faulted) roll() {
	f.t.Helper()
	for _, n := range f.cluster.Nodes() {
		must(f.t, n.Stop())
		f.mark("broker %d stopped", n.ID())
		f.up(n)
		f.await("all replicas to be in sync", 5*time.Minute, f.inSync)
	}
}

func (f *faulted) pause(d time.Duration, n *cluster.Node) {
	f.t.Helper()
	must(f.t, n.Pause())
	f.mark("broker %d paused", n.ID())
	<-time.After(d)
	must(f.t, n.Resume())
}

// node is the broker with a node.id.
func (f *faulted) node(id int32) *cluster.Node {
	f.t.Helper()
	i := slices.IndexFunc(f.cluster.Nodes(), func(n *cluster.Node) bool { return n.ID() == int(id) })
	if i < 0 {
		f.t.Fatalf("there is no broker %d", id)
	}
	return f.cluster.Node(i)
}

func (f *faulted) metadata() (*kmsg.MetadataResponse, error) {
	client := f.client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
	defer cancel()
	return kmsg.NewPtrMetadataRequest().RequestWith(ctx, client)
}

// leader is the broker that leads most partitions of a topic.
func (f *faulted) leader(topic string) *cluster.Node {
	f.t.Helper()
	res, err := f.metadata()
	must(f.t, err)
	leads := map[int32]int{}
	best := int32(-1)
	for _, t := range res.Topics {
		if t.Topic == nil || *t.Topic != topic {
			continue
		}
		for _, p := range t.Partitions {
			if leads[p.Leader]++; leads[p.Leader] > leads[best] {
				best = p.Leader
			}
		}
	}
	return f.node(best)
}

// inSync reports that every replica of every partition is.
func (f *faulted) inSync() bool {
	res, err := f.metadata()
	if err != nil || len(res.Brokers) != len(f.cluster.Nodes()) {
		return false
	}
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			if len(p.ISR) != len(p.Replicas) || p.Leader < 0 {
				return false
			}
		}
	}
	return true
}

// coordinator is that of a group (kind 0) or of a transactional id (1).
func (f *faulted) coordinator(key string, kind int8) *cluster.Node {
	f.t.Helper()
	client := f.client()
	defer client.Close()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = kind, key, []string{key}
	res, err := req.RequestWith(f.t.Context(), client)
	must(f.t, err)
	if len(res.Coordinators) > 0 {
		return f.node(res.Coordinators[0].NodeID)
	}
	return f.node(res.NodeID)
}

// require sets min.insync.replicas of topics.
func (f *faulted) require(n int, topics ...string) {
	f.t.Helper()
	f.place.alter(f.t, "min.insync.replicas", fmt.Sprint(n), topics...)
}

// ready reports that every host says so.
func (f *faulted) ready() bool {
	for _, i := range f.hosts {
		if i.unready() != "" {
			return false
		}
	}
	return true
}

// caughtUp reports that as few requests wait as where nothing is wrong.
func (f *faulted) caughtUp() bool { return f.load.sent()-f.load.answered() <= settled }

// watchReadiness keeps asking every host; the function that it returns ends that
// and tells the distinct reasons for not being ready.
func (f *faulted) watchReadiness() func() []string {
	seen := map[string]bool{}
	stop := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, i := range f.hosts {
				if why := i.unready(); why != "" {
					seen[why] = true
				}
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	return func() []string {
		close(stop)
		asking.Wait()
		var out []string
		for why := range seen {
			out = append(out, why)
		}
		slices.Sort(out)
		return out
	}
}

// unready is what a host says at /readyz; empty: it is ready.
func (i *instance) unready() string {
	url := ""
	for _, l := range i.lines() {
		if l.Message == "listening" {
			url = l.URL
		}
	}
	if url == "" {
		return "not listening yet"
	}
	res, err := http.Get(url + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	if res.StatusCode == http.StatusOK {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// logLine is what is read of a host's log.
type logLine struct {
	Time    time.Time `json:"time"`
	Level   string    `json:"level"`
	Message string    `json:"msg"`
	Error   string    `json:"error"`
	URL     string    `json:"url"`

	host string
}

func (i *instance) lines() []logLine {
	i.mu.Lock()
	name := i.log.Name()
	i.mu.Unlock()
	file, err := os.Open(filepath.Clean(name))
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	var out []logLine
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		l := logLine{host: i.name}
		if json.Unmarshal(lines.Bytes(), &l) == nil {
			out = append(out, l)
		}
	}
	return out
}

// lines are what all hosts wrote at WARN or above in a time.
func (f *faulted) lines(from, to time.Time) []logLine {
	var out []logLine
	for _, i := range f.hosts {
		for _, l := range i.lines() {
			if (l.Level == "WARN" || l.Level == "ERROR") && l.Time.After(from) && l.Time.Before(to) {
				out = append(out, l)
			}
		}
	}
	return out
}

// since counts the answers that arrived after a moment.
func (l *load) since(at time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, _ := slices.BinarySearchFunc(l.arrived, at, time.Time.Compare)
	return len(l.arrived) - i
}

// silence is the longest time without an answer between two moments, and how long
// after a third the first one came.
func (l *load) silence(from, to, over time.Time) (longest, first time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := from
	for _, at := range l.arrived {
		if at.Before(from) || at.After(to) {
			continue
		}
		longest = max(longest, at.Sub(last))
		last = at
		if first == 0 && at.After(over) {
			first = at.Sub(over)
		}
	}
	return longest, first
}
