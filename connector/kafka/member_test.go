package kafka

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	testSession   = 30 * time.Second
	testRebalance = 60 * time.Second
)

// journal is what the members of a group went through, in order.
type journal struct {
	mu      sync.Mutex
	entries []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, fmt.Sprintf(format, args...))
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

func (j *journal) index(entry string) int { return slices.Index(j.all(), entry) }

// member is a Handler that keeps a journal, and its membership.
type member struct {
	name    string
	journal *journal
	// work is what a session does; it is given ctx's end as Run is. Nil: wait
	// for it.
	work func(ctx context.Context, s *Session) error

	leave func()
	left  chan error

	mu       sync.Mutex
	sessions map[int]*Session
	current  Assignment
	unjoined []error
}

// join starts a membership that ends, at the latest, with the test.
func (w *world) join(j *journal, name string, conf GroupConfig, work func(context.Context, *Session) error) *member {
	w.t.Helper()
	m := &member{name: name, journal: j, work: work, left: make(chan error, 1), sessions: map[int]*Session{}}
	if conf.Group == "" {
		conf.Group = "g"
	}
	if conf.Topic == "" {
		conf.Topic = "t"
	}
	if conf.SessionTimeout == 0 {
		conf.SessionTimeout = testSession
	}
	conf.RebalanceTimeout = testRebalance
	c := w.client()
	ctx, cancel := context.WithCancel(w.t.Context())
	m.leave = cancel
	over := make(chan struct{})
	go func() {
		defer close(over)
		err := c.RunGroup(ctx, conf, m)
		j.add("%s left", name)
		if err := c.Close(); err != nil {
			w.t.Error(err)
		}
		m.left <- err
	}()
	w.t.Cleanup(func() { cancel(); <-over })
	return m
}

func (m *member) Assigned(a Assignment) {
	m.mu.Lock()
	m.current = a
	m.mu.Unlock()
	m.journal.add("%s assigned %v of %d", m.name, a.Partitions, a.Total)
}

func (m *member) Run(ctx context.Context, s *Session) error {
	m.mu.Lock()
	m.sessions[s.Partition()] = s
	m.mu.Unlock()
	m.journal.add("%s runs %d", m.name, s.Partition())
	defer m.journal.add("%s ends %d", m.name, s.Partition())
	if m.work == nil {
		<-ctx.Done()
		return nil
	}
	return m.work(ctx, s)
}

func (m *member) Revoked() { m.journal.add("%s revoked", m.name) }

func (m *member) Unjoined(err error) {
	m.mu.Lock()
	m.unjoined = append(m.unjoined, err)
	m.mu.Unlock()
	m.journal.add("%s unjoined %s", m.name, CodeOf(err))
}

func (m *member) session(partition int) *Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sessions[partition]
}

func (m *member) assignment() Assignment {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current
}

func (m *member) failures() []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.unjoined)
}

// addPartitions raises the number of partitions to n.
func (w *world) addPartitions(topic string, n int32) {
	w.t.Helper()
	req := kmsg.NewPtrCreatePartitionsRequest()
	rt := kmsg.NewCreatePartitionsRequestTopic()
	rt.Topic, rt.Count = topic, n
	req.Topics = append(req.Topics, rt)
	res, err := req.RequestWith(w.t.Context(), w.franz())
	if err == nil {
		err = kerr.ErrorForCode(res.Topics[0].ErrorCode)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// slow drains for a given time.
func slow(d time.Duration) func(context.Context, *Session) error {
	return func(ctx context.Context, _ *Session) error {
		<-ctx.Done()
		<-time.After(d) // the test may be over, its cleanup is not
		return nil
	}
}

// owns waits until each member has as many partitions as given.
func owns(t testing.TB, j *journal, want map[*member]int) {
	t.Helper()
	until(t, "the group to settle", func() bool {
		running := j.running(t)
		for m, n := range want {
			if len(running[m.name]) != n || len(m.assignment().Partitions) != n {
				return false
			}
		}
		return true
	})
}

// running replays the journal and fails the test where it breaks the promises
// of Handler: who runs what at its end, by member.
func (j *journal) running(t testing.TB) map[string][]string {
	t.Helper()
	running, owner, assigned := map[string][]string{}, map[string]string{}, map[string]bool{}
	entries := j.all()
	for i, e := range entries {
		name, event, _ := strings.Cut(e, " ")
		event, what, _ := strings.Cut(event, " ")
		broken := ""
		switch event {
		case "assigned":
			if assigned[name] {
				broken = "assigned twice"
			}
			assigned[name] = true
		case "runs":
			if !assigned[name] {
				broken = "runs without an assignment"
			}
			if other := owner[what]; other != "" {
				broken = "is owned by " + other
			}
			owner[what] = name
			running[name] = append(running[name], what)
		case "ends":
			owner[what] = ""
			running[name] = slices.DeleteFunc(running[name], func(p string) bool { return p == what })
		case "revoked":
			if !assigned[name] || len(running[name]) > 0 {
				broken = "revoked too early"
			}
			assigned[name] = false
		case "unjoined", "left":
			if assigned[name] {
				broken = "no revocation before"
			}
		}
		if broken != "" {
			t.Fatalf("%s: %s\n%s", e, broken, strings.Join(entries[:i+1], "\n"))
		}
	}
	return running
}
