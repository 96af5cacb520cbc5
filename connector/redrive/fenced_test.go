package redrive

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/connector/kafka"
)

// denying is a client's way to the network on which the answer to the nth EndTxn
// says that the producer is fenced, whatever the broker did.
type denying struct {
	dial kafka.DialFunc
	nth  int

	mu    sync.Mutex
	count int
}

func (d *denying) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &denyingConn{Conn: c, of: d}, nil
}

// meets reports whether this EndTxn is the one.
func (d *denying) meets() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	return d.count == d.nth
}

func (d *denying) met() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

type denyingConn struct {
	net.Conn
	of *denying

	mu   sync.Mutex
	code int // where the error code stands in the next answer; zero: it is left as it is
}

func (c *denyingConn) Write(b []byte) (int, error) {
	if len(b) >= 8 && kmsg.Key(binary.BigEndian.Uint16(b[4:])) == kmsg.EndTxn && c.of.meets() {
		code := 4 + 4 + 4 // behind size, correlation and throttling
		if binary.BigEndian.Uint16(b[6:]) >= 3 {
			code++ // and behind tags
		}
		c.mu.Lock()
		c.code = code
		c.mu.Unlock()
	}
	return c.Conn.Write(b)
}

func (c *denyingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.code; at > 0 && n > 0 {
		if n < at+2 {
			return n, fmt.Errorf("an answer of %d bytes in one piece was expected", n)
		}
		binary.BigEndian.PutUint16(b[at:], uint16(kerr.ProducerFenced.Code))
		c.code = 0
	}
	return n, err
}

// wantCapped judges a run of ten letters with a cap of six, in batches of two.
func wantCapped(t *testing.T, w *world, r Report, done int) {
	t.Helper()
	if r.Requests() != 6 || r.Calls.Creates != 6 || r.Capped != 4 || done != 6 {
		t.Errorf("done %d, %+v", done, r)
	}
	wantOnce(t, w.ids(topics.Requests), 6)
	if n := len(w.all(topics.Journal)); n != 6 {
		t.Errorf("%d marks", n)
	}
}

// How a transaction ended is not known until the lock is had anew. Then it
// counts, or is sent again, so that the cap holds and the report is complete.
func TestUnknownEndCounts(t *testing.T) {
	const transactions = 3
	for nth := 1; nth <= transactions; nth++ {
		for _, applied := range []bool{true, false} {
			t.Run(fmt.Sprintf("transaction %d, applied %v", nth, applied), func(t *testing.T) {
				inBubble(t, func(t *testing.T, w *world) {
					w.dead(many(10)...)
					d := &denying{dial: w.net.DialContext}
					want := transactions
					if applied {
						d.nth = nth
					} else {
						seen := 0
						w.cluster.Fault(kfake.Fault{
							Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.ProducerFenced,
							When: func(kmsg.Request) bool { seen++; return seen == nth },
						})
						want++
					}
					client, err := kafka.NewClient(kafka.Config{Brokers: w.addrs, Dial: d.DialContext})
					if err != nil {
						t.Fatal(err)
					}
					defer client.Close()
					cfg := config()
					cfg.Rate, cfg.Max = 20, 6
					var done []int
					cfg.Progress = func(p Progress) { done = append(done, p.Done) }
					r, err := Run(t.Context(), client, cfg)
					if err != nil {
						t.Fatal(err)
					}
					wantCapped(t, w, r, done[len(done)-1])
					if !slices.Equal(done, []int{0, 2, 4, 6}) {
						t.Errorf("progress %v", done)
					}
					if n := d.met(); n != want {
						t.Errorf("%d transactions were ended, want %d", n, want)
					}
				})
			})
		}
	}
}

// ousted is fenced at its first transaction by a run that does the same letters
// under the lock.
type ousted struct {
	w       *world
	by      Config
	sent    int
	started bool
}

func (o *ousted) Fence(context.Context) error { return nil }

func (o *ousted) Transact(ctx context.Context, msgs []kafka.Message, _ kafka.Position) error {
	if !o.started {
		o.started = true
		if _, err := o.w.run(ctx, o.by); err != nil {
			return err
		}
		return &kafka.Error{Code: kafka.CodeFenced, Op: "transact", Err: kerr.ProducerFenced}
	}
	o.sent += len(msgs) / 2
	return o.w.client.Produce(ctx, msgs)
}

// What another run did in between is that run's.
func TestAnotherRunsMarksDoNotCount(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dead(many(10)...)
		cfg := config()
		cfg.Rate, cfg.Max = 20, 6
		if err := w.client.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: topics.Journal, Partitions: 1}}); err != nil {
			t.Fatal(err)
		}
		j, err := survey(t.Context(), w.client, cfg)
		if err != nil {
			t.Fatal(err)
		}
		r := &run{job: j, cluster: w.client, planned: 6, refused: marks{}}
		j.report = Report{Refused: map[Reason]int{}}
		out := &ousted{w: w, by: config()}
		out.by.Max = 2
		if err := r.pass(t.Context(), out); !lost(err) {
			t.Fatalf("%v, want the lock lost", err)
		}
		if err := r.pass(t.Context(), out); err != nil {
			t.Fatal(err)
		}
		if out.sent != 6 || r.done != 6 || j.report.Requests() != 6 {
			t.Errorf("sent %d, done %d, %+v", out.sent, r.done, j.report)
		}
		wantOnce(t, w.ids(topics.Requests), 8)
	})
}
