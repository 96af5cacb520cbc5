package emulator_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/internal/emulator"
)

// TestLatencyInABubble shows each part of latency, exactly, in virtual time.
func TestLatencyInABubble(t *testing.T) {
	for name, tc := range map[string]struct {
		latency     emulator.Latency
		made, total time.Duration
	}{
		"none":         {emulator.Latency{}, 0, 0},
		"fixed":        {emulator.Latency{Fixed: 3 * time.Second}, 3 * time.Second, 3 * time.Second},
		"uniform":      {emulator.Latency{Min: time.Second, Max: time.Second}, time.Second, time.Second},
		"tail":         {emulator.Latency{Fixed: time.Second, TailRate: 1, Tail: time.Minute}, 61 * time.Second, 61 * time.Second},
		"half behind":  {emulator.Latency{Fixed: 4 * time.Second, AfterShare: 0.5}, 2 * time.Second, 4 * time.Second},
		"all behind":   {emulator.Latency{Fixed: 4 * time.Second, AfterShare: 1}, 0, 4 * time.Second},
		"never a tail": {emulator.Latency{Tail: time.Minute}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := handled(t, emulator.Config{Faults: emulator.Faults{Latency: tc.latency}})
				f, _ := a.pushFactor()
				start := time.Now()
				a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0)
				if got := time.Since(start); got != tc.total {
					t.Errorf("answered after %v, want %v", got, tc.total)
				}
				if got := a.e.Created()[0].At.Sub(start); got != tc.made {
					t.Errorf("made after %v, want %v", got, tc.made)
				}
			})
		})
	}
}

func TestUniformLatencyStaysWithinItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := handled(t, emulator.Config{Faults: emulator.Faults{Latency: emulator.Latency{Min: time.Second, Max: 3 * time.Second}}})
		a.pushFactor()
		var low, high int
		for range 200 {
			start := time.Now()
			a.want(a.get(challenges(identity)), 200, 0)
			switch took := time.Since(start); {
			case took < time.Second || took > 3*time.Second:
				t.Fatalf("took %v", took)
			case took < 2*time.Second:
				low++
			default:
				high++
			}
		}
		if low < 60 || high < 60 {
			t.Errorf("%d below the middle, %d above", low, high)
		}
	})
}

// A caller that gives up does not stop what has begun: the challenge appears later.
func TestACallerThatGoesAwayDoesNotStopTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := handled(t, emulator.Config{Faults: emulator.Faults{Latency: emulator.Latency{Fixed: 10 * time.Second}}})
		f, _ := a.pushFactor()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := a.request(http.MethodPost, challenges(identity), pushForm(f.SID)).WithContext(ctx)
		if _, err := a.try(r); err != nil {
			t.Fatal(err)
		}
		created := a.e.Created()
		if len(created) != 1 || created[0].Answered {
			t.Errorf("%+v", created)
		}
	})
}

func TestHundredsWaitAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := handled(t, emulator.Config{Faults: emulator.Faults{Latency: emulator.Latency{Fixed: time.Second}}})
		f, _ := a.pushFactor()
		start := time.Now()
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() {
				w := httptest.NewRecorder()
				a.e.ServeHTTP(w, a.request(http.MethodPost, challenges(identity), pushForm(f.SID)))
				if w.Code != http.StatusCreated {
					t.Error(w.Code)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
		if s := a.e.Stats(); s.ConcurrentMax != 500 || s.Creates != 500 {
			t.Errorf("%+v", s)
		}
	})
}

func TestExpiryInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := handled(t, emulator.Config{})
		f, key := a.pushFactor()
		p := a.pushed(f.SID)
		<-time.After(5*time.Minute - 1)
		if got := a.get(p.path).text("status"); got != "pending" {
			t.Error(got)
		}
		<-time.After(1)
		if got := a.get(p.path).text("status"); got != "expired" {
			t.Error(got)
		}
		a.want(a.answer(p, p.sign(t, key, "approved")), 403, 60323)
	})
}

func TestUnavailableInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := handled(t, emulator.Config{})
		a.pushFactor()
		if err := a.e.OutageUnavailable(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "second outage", a.e.OutageUnavailable(time.Second), emulator.CodeState)
		<-time.After(20*time.Second - 1)
		a.want(a.get(challenges(identity)), 503, 20503)
		a.want(a.get(factors(identity)), 503, 20503)
		if err := a.e.WaitUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.want(a.get(challenges(identity)), 200, 0)
		if n := a.e.Stats().Faults[emulator.FaultUnavailable]; n != 2 {
			t.Errorf("counted %d", n)
		}
	})
}

func TestCloseWaitsForHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		a := handled(t, emulator.Config{BeforeWork: func(emulator.Operation, *http.Request) { <-leave }})
		a.pushFactor()
		answered, closed := make(chan struct{}), make(chan struct{})
		go func() {
			a.want(a.get(challenges(identity)), 200, 0)
			close(answered)
		}()
		synctest.Wait()
		go func() { closeIt(t, a.e); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close did not wait")
		default:
		}
		close(leave)
		<-answered
		<-closed
	})
}

func TestCloseCutsLatencyShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := handled(t, emulator.Config{Faults: emulator.Faults{Latency: emulator.Latency{Fixed: time.Hour}}})
		f, _ := a.pushFactor()
		start := time.Now()
		done := make(chan int)
		go func() {
			w := httptest.NewRecorder()
			a.e.ServeHTTP(w, a.request(http.MethodPost, challenges(identity), pushForm(f.SID)))
			done <- w.Code
		}()
		synctest.Wait()
		closed := make(chan struct{})
		go func() { closeIt(t, a.e); close(closed) }()
		if got := <-done; got != http.StatusCreated {
			t.Error(got)
		}
		<-closed
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}
