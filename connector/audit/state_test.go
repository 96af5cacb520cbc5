package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// interrupting is a cluster whose reader is interrupted when it begins to read for
// the nth time.
type interrupting struct {
	Cluster
	mu   sync.Mutex
	left int
	end  context.CancelCauseFunc
}

var errEnough = errors.New("enough")

func (i *interrupting) Cursor(topic string, partition int, from, end int64, most int) *kafka.Cursor {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.left--; i.left < 0 {
		i.end(errEnough)
	}
	return i.Cluster.Cursor(topic, partition, from, end, most)
}

// refusing is an API that refuses the credentials.
type refusing struct{}

func (refusing) Fetch(context.Context, string, string, string) (*read.Response, error) {
	return nil, &read.APIError{Status: 401, Code: 20003}
}

// What fails for good leaves no state behind, which would take the window as it was then.
func TestNoStateOfAFailedComparison(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.answer(0, w.ask(0, "a"))
		w.worked()
		cfg := config()
		cfg.State = filepath.Join(t.TempDir(), "state")
		failing := cfg
		failing.Compare = &CompareConfig{Accounts: map[string]Challenges{"": refusing{}}, Budget: 10}
		if _, err := Run(t.Context(), w.client, failing); CodeOf(err) != CodeAPI {
			t.Fatal(err)
		}
		w.ask(0, "lost")
		w.worked()
		want(t, w.audit(cfg), "missing no_answer: 0@1 lost")
	})
}

// An audit that is interrupted anywhere, again and again, reports the same as one
// that is not.
func TestInterruptedAnywhere(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		seeded(t, w)
		whole, err := json.Marshal(w.audit(config()))
		must(t, err)
		const streams = 6
		reading, deciding := 0, 0
		for patience := 1; patience <= 40; patience++ {
			cfg := config()
			cfg.State = filepath.Join(t.TempDir(), "state")
			for again, interrupted := true, 0; again; {
				ctx, cancel := context.WithCancelCause(t.Context())
				kc := &interrupting{Cluster: w.client, left: 1000, end: cancel}
				if patience > streams && interrupted == 0 {
					kc.left = patience // in the looks for the findings' records
				}
				steps := 0
				cfg.Progress = func(Progress) {
					if steps++; steps == patience && patience <= streams {
						cancel(errEnough)
					}
				}
				r, err := Run(ctx, kc, cfg)
				cancel(nil)
				again = err != nil
				if again {
					if CodeOf(err) != CodeInterrupted || !errors.Is(err, errEnough) {
						t.Fatal(err)
					}
					if _, err := os.Stat(cfg.State); err != nil {
						t.Fatal(err)
					}
					if interrupted++; patience <= streams {
						reading++
					} else {
						deciding++
					}
					continue
				}
				data, err := json.Marshal(r)
				must(t, err)
				if !bytes.Equal(data, whole) {
					t.Errorf("patience %d\n%s\nwant\n%s", patience, data, whole)
				}
			}
			if _, err := os.Stat(cfg.State); !os.IsNotExist(err) {
				t.Errorf("the state is still there: %v", err)
			}
		}
		if reading < 6 || deciding < 15 {
			t.Errorf("interrupted %d times while reading, %d while deciding", reading, deciding)
		}
	})
}

func TestStateOfAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		seeded(t, w)
		cfg := config()
		cfg.State = filepath.Join(t.TempDir(), "state")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		if _, err := Run(ctx, &interrupting{Cluster: w.client, left: 2, end: cancel}, cfg); CodeOf(err) != CodeInterrupted {
			t.Fatal(err)
		}
		other := cfg
		other.Group = "another"
		if _, err := Run(t.Context(), w.client, other); CodeOf(err) != CodeState {
			t.Errorf("%v", err)
		}
		must(t, os.WriteFile(cfg.State, []byte("garbage"), 0o600))
		if _, err := Run(t.Context(), w.client, cfg); CodeOf(err) != CodeState {
			t.Errorf("%v", err)
		}
		cfg.State = filepath.Join(t.TempDir(), "no such folder", "state")
		ctx, cancel = context.WithCancelCause(t.Context())
		defer cancel(nil)
		if _, err := Run(ctx, &interrupting{Cluster: w.client, left: 2, end: cancel}, cfg); CodeOf(err) != CodeInterrupted || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v", err)
		}
	})
}

// Brokers that go away in the middle are waited for.
func TestBrokersAway(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for i := range 6 {
			a := w.ask(0, "r"+string(rune('a'+i)))
			w.answer(i%3, a, func(r *schemas.Result) { r.Outcome = schemas.OutcomeAdopted })
		}
		w.worked()
		away := &away{until: time.Now().Add(time.Minute), dial: w.net.DialContext}
		client, err := kafka.NewClient(kafka.Config{Brokers: w.addrs, Dial: away.DialContext})
		must(t, err)
		defer func() { _ = client.Close() }()
		cfg := config()
		waited := false
		cfg.Progress = func(p Progress) { waited = waited || p.Waiting != nil }
		started := time.Now()
		r, err := Run(t.Context(), client, cfg)
		must(t, err)
		want(t, r)
		if took := time.Since(started); took < time.Minute || !waited {
			t.Errorf("took %v, waited %v", took, waited)
		}
	})
}

// away is a network on which nobody can be reached until a moment.
type away struct {
	until time.Time
	dial  kafka.DialFunc
}

func (a *away) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if time.Now().Before(a.until) {
		return nil, syscall.ECONNREFUSED
	}
	return a.dial(ctx, network, address)
}
