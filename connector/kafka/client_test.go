package kafka

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/internal/broker"
)

func TestNewClientChecksItsConfig(t *testing.T) {
	for _, brokers := range [][]string{nil, {}, {"host"}, {"good:9092", "bad"}, {""}} {
		_, err := NewClient(Config{Brokers: brokers})
		wantCode(t, err, CodeInvalid)
	}
}

func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &kfake.VirtualNetwork{}
		b, err := broker.Start(broker.Config{Network: net})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, net: net, cluster: b.Cluster(), addrs: b.Addrs()}
		c := w.client()
		if id, err := c.Ping(t.Context()); err != nil || id != broker.ClusterID {
			t.Errorf("%q, %v", id, err)
		}
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ApiVersions}, TopLevel: true, Err: kerr.UnsupportedVersion, Count: -1})
		_, err = c.Ping(t.Context())
		wantCode(t, err, CodeInvalid)
		fault.Remove()
		b.Close()
		_, err = c.Ping(t.Context())
		wantCode(t, err, CodeUnavailable)
	})
}

// A broker that was never there must not look like a topic that is not.
func TestCallsWithoutAnyBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := NewClient(Config{Brokers: []string{"away:9092"}, Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("nobody is there")
		}})
		if err != nil {
			t.Fatal(err)
		}
		calls := map[string]func(context.Context) error{
			"ping":       func(ctx context.Context) error { _, err := c.Ping(ctx); return err },
			"fetch":      func(ctx context.Context) error { _, err := c.Fetch(ctx, FetchRequest{Topic: "t"}); return err },
			"partitions": func(ctx context.Context) error { _, err := c.Partitions(ctx, "t"); return err },
			"ranges":     func(ctx context.Context) error { _, err := c.Ranges(ctx, "t"); return err },
			"produce":    func(ctx context.Context) error { return c.Produce(ctx, []Message{{Topic: "t"}}) },
			"topics":     func(ctx context.Context) error { return c.EnsureTopics(ctx, []TopicSpec{{Name: "t"}}) },
		}
		for name, call := range calls {
			if err := call(t.Context()); CodeOf(err) != CodeUnavailable {
				t.Errorf("%s: %v", name, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := call(ctx); CodeOf(err) != CodeCanceled {
				t.Errorf("%s with an ended context: %v", name, err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		for name, call := range calls {
			if err := call(t.Context()); CodeOf(err) != CodeCanceled {
				t.Errorf("%s after Close: %v", name, err)
			}
		}
	})
}

func TestCloseEndsCallsThatAreUnderWay(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		c := w.client()
		fetched, pinged, produced := make(chan error, 1), make(chan error, 1), make(chan error, 1)
		if _, err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.mute(kmsg.ApiVersions)
		w.mute(kmsg.Produce)
		go func() {
			_, err := c.Fetch(t.Context(), FetchRequest{Topic: "t", MaxWait: time.Minute})
			fetched <- err
		}()
		go func() { _, err := c.Ping(t.Context()); pinged <- err }()
		go func() { produced <- c.Produce(t.Context(), []Message{{Topic: "t"}}) }()
		synctest.Wait()
		pass(t, time.Second)
		start := time.Now()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		for _, done := range []chan error{fetched, pinged, produced} {
			wantCode(t, <-done, CodeCanceled)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// A dial that hangs must not outlive the client.
func TestCloseEndsDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 10)
		c, err := NewClient(Config{Brokers: []string{"slow:9092"}, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		}})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { _, err := c.Ping(t.Context()); done <- err }()
		synctest.Wait()
		start := time.Now()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		wantCode(t, <-done, CodeCanceled)
		if err := <-ended; !errors.Is(err, context.Canceled) || time.Since(start) != 0 {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

// A connection that is made while the wires are cut must not stay open.
func TestWiresCutDuringDial(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	var w *wires
	w = newWires(func(context.Context, string, string) (net.Conn, error) {
		w.cut()
		return here, nil
	})
	if _, err := w.dial(t.Context(), "tcp", "host:1"); !errors.Is(err, errClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := here.Write([]byte("x")); err == nil {
		t.Error("the connection is open")
	}
	if _, err := w.dial(t.Context(), "tcp", "host:1"); !errors.Is(err, errClosed) {
		t.Errorf("later: %v", err)
	}
}

func TestWiresForgetWhatIsClosed(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	w := newWires(func(context.Context, string, string) (net.Conn, error) { return here, nil })
	c, err := w.dial(t.Context(), "tcp", "host:1")
	if err != nil || len(w.open) != 1 {
		t.Fatalf("%v, %d open", err, len(w.open))
	}
	if err := c.Close(); err != nil || len(w.open) != 0 {
		t.Errorf("%v, %d open", err, len(w.open))
	}
	w.via = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") }
	if _, err := w.dial(t.Context(), "tcp", "host:1"); err == nil || len(w.open) != 0 {
		t.Errorf("%v, %d open", err, len(w.open))
	}
}
