package emulator_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/emulator"
)

// own returns a copy of a that calls through a client of its own.
func (a *api) own(keepAlive bool) *api {
	b := *a
	b.client = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: !keepAlive, MaxIdleConnsPerHost: 64,
		// A SYN that falls into the moment of shutting is dropped, and the kernel
		// repeats it after seconds only.
		DialContext: (&net.Dialer{Timeout: 200 * time.Millisecond}).DialContext,
	}}
	b.do = b.client.Do
	a.t.Cleanup(b.client.CloseIdleConnections)
	return &b
}

// refused reports whether a call ended while connecting, before anything could be
// sent: refused, reset in the middle of the handshake, or never heard of again.
func refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" &&
		(errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || op.Timeout())
}

// tally counts what callers saw and lets a test wait for a number of it.
type tally struct {
	mu      sync.Mutex
	changed *sync.Cond
	n       map[string]int
}

func newTally() *tally {
	s := &tally{n: map[string]int{}}
	s.changed = sync.NewCond(&s.mu)
	return s
}

func (s *tally) add(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n[what]++
	s.changed.Broadcast()
}

// more waits until what has happened n more times.
func (s *tally) more(what string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for goal := s.n[what] + n; s.n[what] < goal; {
		s.changed.Wait()
	}
}

// load calls create from many goroutines until stop is closed.
func load(a *api, factorSID string, stop <-chan struct{}, wg *sync.WaitGroup) *tally {
	seen := newTally()
	clients := []*api{a.own(true), a.own(true), a.own(false)}
	for i := range 24 {
		c := clients[i%len(clients)]
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch r, err := c.try(a.request(http.MethodPost, challenges(identity), pushForm(factorSID))); {
				case err == nil && r.status == http.StatusCreated:
					seen.add("created")
				case refused(err):
					seen.add("refused")
				default:
					seen.add(fmt.Sprintf("in doubt: %v %d", err, r.status))
				}
			}
		})
	}
	return seen
}

func TestGracefulOutageLeavesNoCallInDoubt(t *testing.T) {
	a := started(t, emulator.Config{})
	f, _ := a.pushFactor()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	seen := load(a, f.SID, stop, &wg)
	for range 8 {
		seen.more("created", 200)
		if err := a.e.Outage(time.Hour); err != nil {
			t.Fatal(err)
		}
		seen.more("refused", 100)
		a.e.EndOutage()
	}
	seen.more("created", 200)
	close(stop)
	wg.Wait()
	for what, n := range seen.n {
		if strings.HasPrefix(what, "in doubt") {
			t.Errorf("%d times %s", n, what)
		}
	}
	created := a.e.Created()
	if len(created) != seen.n["created"] {
		t.Errorf("%d made, %d heard of", len(created), seen.n["created"])
	}
	for _, c := range created {
		if !c.Answered {
			t.Fatalf("%s was not answered", c.SID)
		}
	}
	t.Logf("%v", seen.n)
}

func TestGracefulOutageStepByStep(t *testing.T) {
	var hold atomic.Pointer[chan struct{}]
	entered := make(chan struct{}, 1)
	a := started(t, emulator.Config{BeforeWork: func(op emulator.Operation, _ *http.Request) {
		if gate := hold.Load(); gate != nil && op == emulator.OperationCreate {
			entered <- struct{}{}
			<-*gate
		}
	}})
	f, _ := a.pushFactor()
	idle, fresh := a.own(true), a.own(true)
	idle.want(idle.get(challenges(identity)), 200, 0) // leaves a connection that stands

	release := make(chan struct{})
	hold.Store(&release)
	answered := make(chan reply)
	go func() {
		r, err := a.try(a.request(http.MethodPost, challenges(identity), pushForm(f.SID)))
		if err != nil {
			t.Error(err)
		}
		answered <- r
	}()
	<-entered
	if err := a.e.Outage(time.Hour); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "second outage", a.e.OutageHard(time.Hour), emulator.CodeState)
	if _, err := fresh.try(fresh.request(http.MethodGet, challenges(identity), nil)); !refused(err) {
		t.Errorf("a new connection: %v", err)
	}
	if r := idle.want(idle.get(challenges(identity)), 200, 0); !r.closes {
		t.Error("an idle connection keeps alive")
	}
	if _, err := idle.try(idle.request(http.MethodGet, challenges(identity), nil)); !refused(err) {
		t.Errorf("its next request: %v", err)
	}
	close(release)
	if r := <-answered; r.status != 201 || !r.closes {
		t.Errorf("the request in progress: %+v", r)
	}
	addr := a.e.Addr().String()
	a.e.EndOutage()
	if r := fresh.want(fresh.get(challenges(identity)), 200, 0); r.closes || a.e.Addr().String() != addr {
		t.Errorf("after the outage: %+v at %v", r, a.e.Addr())
	}
	a.e.EndOutage() // without one: nothing
}

func TestHardOutageDropsEverything(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	var holding atomic.Bool
	a := started(t, emulator.Config{
		AfterWork: func(op emulator.Operation, _ *http.Request) {
			if holding.Load() && op == emulator.OperationCreate {
				entered <- struct{}{}
				<-leave
			}
		},
		BeforeWork: func(op emulator.Operation, _ *http.Request) {
			if holding.Load() && op == emulator.OperationUpdate {
				entered <- struct{}{}
				<-leave
			}
		},
	})
	f, _ := a.pushFactor()
	p := a.pushed(f.SID)
	idle := a.own(true)
	idle.want(idle.get(challenges(identity)), 200, 0)
	holding.Store(true)
	failed := make(chan error)
	for _, path := range []string{challenges(identity), p.path} {
		go func() {
			_, err := a.try(a.request(http.MethodPost, path, with(pushForm(f.SID), "Metadata", "{}")))
			failed <- err
		}()
		<-entered
	}
	if err := a.e.OutageHard(time.Hour); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-failed; err == nil || refused(err) {
			t.Errorf("a request in progress: %v", err)
		}
	}
	close(leave)
	// The idle connection is gone; the client notices and dials anew, in vain.
	if _, err := idle.try(idle.request(http.MethodPost, challenges(identity), pushForm(f.SID))); err == nil {
		t.Error("the API answers")
	}
	holding.Store(false)
	a.e.EndOutage()
	created := a.e.Created()
	if len(created) != 2 || !created[0].Answered || created[1].Answered {
		t.Errorf("%+v", created)
	}
	if got := idle.want(idle.get(p.path), 200, 0); got.body["metadata"] != nil {
		t.Errorf("a dead API carried an update out: %s", got.raw)
	}
	idle.want(idle.post(challenges(identity), pushForm(f.SID)), 201, 0)
}

func TestOutageEndsByItself(t *testing.T) {
	a := started(t, emulator.Config{})
	a.pushFactor()
	for _, begin := range []func(time.Duration) error{a.e.Outage, a.e.OutageHard, a.e.OutageUnavailable} {
		if err := begin(time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if err := a.e.WaitUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := a.own(true)
		b.want(b.get(challenges(identity)), 200, 0)
	}
	if err := a.e.WaitUp(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOutageMisuse(t *testing.T) {
	a := handled(t, emulator.Config{})
	wantCode(t, "without Start", a.e.Outage(time.Second), emulator.CodeState)
	wantCode(t, "without Start", a.e.OutageHard(time.Second), emulator.CodeState)
	wantCode(t, "no time", a.e.OutageUnavailable(0), emulator.CodeState)
	if err := a.e.OutageUnavailable(time.Hour); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.e.WaitUp(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	closeIt(t, a.e) // ends the outage
	if err := a.e.WaitUp(t.Context()); err != nil {
		t.Error(err)
	}
	wantCode(t, "closed", a.e.OutageUnavailable(time.Hour), emulator.CodeState)
}
