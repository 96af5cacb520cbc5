package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/connector/kafka"
)

func TestIntoCopies(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fill(40)
		var told []Progress
		cfg := config()
		cfg.Progress = func(p Progress) { told = append(told, p) }
		r, err := w.into(t.Context(), cfg)
		if err != nil || r.Written != 40 || r.Left() != 0 || r.Resumed || r.Run == "" || !r.Makes || r.Refused != 0 {
			t.Fatalf("%+v %v", r, err)
		}
		w.wantCopies(w.all(results))
		for _, rec := range w.all(target) {
			if header(rec, HeaderRun) != r.Run {
				t.Errorf("run %q, want %q", header(rec, HeaderRun), r.Run)
			}
		}
		if last := told[len(told)-1]; told[0].Done != 0 || told[0].Total != 40 || last.Done != 40 || last.Total != 40 {
			t.Errorf("progress %v", told)
		}
		if n, err := w.client.Partitions(t.Context(), target); n != parts || err != nil {
			t.Errorf("%d partitions, %v", n, err)
		}
		// Once more there is nothing to do, and what has come since is next.
		if r, err := w.into(t.Context(), config()); err != nil || r.Written != 0 || !r.Resumed {
			t.Errorf("%+v %v", r, err)
		}
		w.fill(6)
		again, err := w.into(t.Context(), config())
		if err != nil || again.Written != 6 || again.Run != r.Run {
			t.Errorf("%+v %v", again, err)
		}
		w.wantCopies(w.all(results))
		cfg = config()
		cfg.Restart = true
		anew, err := w.into(t.Context(), cfg)
		if err != nil || anew.Written != 46 || anew.Run == r.Run || anew.Resumed {
			t.Errorf("%+v %v", anew, err)
		}
		if n := len(w.all(target)); n != 92 {
			t.Errorf("%d records after a restart", n)
		}
	})
}

func TestIntoFewerPartitions(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fill(30)
		if err := w.client.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: target, Partitions: 2}}); err != nil {
			t.Fatal(err)
		}
		if r, err := w.into(t.Context(), config()); err != nil || r.Written != 30 || r.Makes {
			t.Fatalf("%+v %v", r, err)
		}
		at := map[string]int{}
		for _, rec := range w.all(target) {
			if rec.Key == nil {
				continue
			}
			if p, there := at[string(rec.Key)]; there && p != rec.Partition {
				t.Errorf("key %s is in two partitions", rec.Key)
			}
			at[string(rec.Key)] = rec.Partition
		}
		if n := len(w.all(target)); n != 30 {
			t.Errorf("%d records", n)
		}
	})
}

func TestIntoWindow(t *testing.T) {
	in := func(w *world, keep func(i int, rec kafka.Record) bool) (out []kafka.Record) {
		for _, rec := range w.all(results) {
			var i int
			_, _ = fmt.Sscanf(string(rec.Value), "v%d", &i)
			if keep(i, rec) {
				out = append(out, rec)
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		window Window
		keep   func(i int, rec kafka.Record) bool
	}{
		"from":    {Window{From: began.Add(7 * time.Minute)}, func(i int, _ kafka.Record) bool { return i >= 7 }},
		"to":      {Window{To: began.Add(11 * time.Minute)}, func(i int, _ kafka.Record) bool { return i < 11 }},
		"both":    {Window{From: began.Add(7 * time.Minute), To: began.Add(11 * time.Minute)}, func(i int, _ kafka.Record) bool { return i >= 7 && i < 11 }},
		"nothing": {Window{From: began.Add(7 * time.Hour)}, func(int, kafka.Record) bool { return false }},
		"offsets": {Window{Offsets: []Span{{2, 1, 4}, {0, 2, 3}}}, func(_ int, rec kafka.Record) bool {
			return rec.Partition == 2 && rec.Offset >= 1 && rec.Offset < 4 || rec.Partition == 0 && rec.Offset == 2
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.fill(30)
				cfg := config()
				cfg.Window = c.window
				want := in(w, c.keep)
				plan, err := Plan(t.Context(), w.client, cfg)
				if err != nil || plan.Left() != int64(len(want)) || plan.Run != "" || len(w.all(target)) > 0 {
					t.Errorf("planned %+v, %v", plan, err)
				}
				r, err := w.into(t.Context(), cfg)
				if err != nil || r.Written != int64(len(want)) {
					t.Fatalf("%+v %v", r, err)
				}
				w.wantCopies(want)
			})
		})
	}
}

func TestIntoRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fill(9)
		specs := []kafka.TopicSpec{
			{Name: "compacted", Partitions: 1, Configs: map[string]string{"cleanup.policy": "compact,delete"}},
			{Name: "append", Partitions: 1, Configs: map[string]string{"message.timestamp.type": "LogAppendTime"}},
			{Name: "odd", Partitions: 1},
		}
		if err := w.client.EnsureTopics(t.Context(), specs); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			change func(c *Config)
			says   string
		}{
			"live":          {func(c *Config) { c.Target = requests }, "live topic"},
			"live, absent":  {func(c *Config) { c.Target = "dead" }, "live topic"},
			"source":        {func(c *Config) { c.Live, c.Target = nil, results }, "live topic"},
			"compacted":     {func(c *Config) { c.Target = "compacted" }, "compacted"},
			"append time":   {func(c *Config) { c.Target = "append" }, "LogAppendTime"},
			"no source":     {func(c *Config) { c.Source = "" }, "results"},
			"no target":     {func(c *Config) { c.Target = "" }, "target"},
			"no group":      {func(c *Config) { c.Group = "" }, "group"},
			"connector's":   {func(c *Config) { c.Connectors = []string{"a", "replay"} }, "group replay is a connector's"},
			"rate":          {func(c *Config) { c.Rate = -1 }, "rate"},
			"times":         {func(c *Config) { c.Window.From, c.Window.To = began, began }, "no time"},
			"both":          {func(c *Config) { c.Window.From, c.Window.Offsets = began, []Span{{0, 0, 1}} }, "not by both"},
			"empty span":    {func(c *Config) { c.Window.Offsets = []Span{{0, 1, 1}} }, "no offset"},
			"twice":         {func(c *Config) { c.Window.Offsets = []Span{{0, 0, 1}, {0, 1, 2}} }, "twice"},
			"no partition":  {func(c *Config) { c.Window.Offsets = []Span{{3, 0, 1}} }, "no partition 3"},
			"beyond theend": {func(c *Config) { c.Window.Offsets = []Span{{0, 0, 4}} }, "ends at offset 3"},
		} {
			cfg := config()
			c.change(&cfg)
			_, err := w.into(t.Context(), cfg)
			if wantCode(t, err, CodeInvalid, c.says); CodeOf(err) != CodeInvalid {
				t.Error(name)
			}
		}
		cfg := config()
		cfg.Source = "absent"
		_, err := w.into(t.Context(), cfg)
		wantCode(t, err, CodeKafka)
		if w.all(target) != nil || len(w.all("compacted"))+len(w.all("append"))+len(w.all(requests)) > 0 {
			t.Error("something was written")
		}
	})
}

// What another replay, or another program, has committed is no progress of this one.
func TestIntoRefusesAnothersProgress(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fill(9)
		cfg := config()
		cfg.Window.To = began.Add(4 * time.Minute)
		if r, err := w.into(t.Context(), cfg); err != nil || r.Written != 4 {
			t.Fatalf("%+v %v", r, err)
		}
		for _, change := range []func(c *Config){
			func(c *Config) { c.Window.To = began.Add(5 * time.Minute) },
			func(c *Config) { c.Window.From = began },
			func(c *Config) { c.Target = "else" },
			func(c *Config) { c.Window = Window{Offsets: []Span{{0, 0, 1}}} },
		} {
			other := cfg
			change(&other)
			_, err := w.into(t.Context(), other)
			wantCode(t, err, CodeState, "into rebuilt to 1999-12-31T00:04:00Z")
		}
		other := cfg
		other.Window, other.Restart = Window{}, true
		if r, err := w.into(t.Context(), other); err != nil || r.Written != 9 {
			t.Errorf("%+v %v", r, err)
		}
		// A group that somebody consumes with.
		w.consume("consumers", results)
		for _, restart := range []bool{false, true} {
			foreign := config()
			foreign.Group, foreign.Restart = "consumers", restart
			_, err := w.into(t.Context(), foreign)
			wantCode(t, err, CodeState, "no replay's")
		}
	})
}

// consume lets another program commit an offset.
func (w *world) consume(group, topic string) { w.commit(group, topic, kafka.Position{Offset: 1}) }

func (w *world) commit(group, topic string, pos kafka.Position) {
	w.t.Helper()
	member := &visitor{work: func(ctx context.Context, s *kafka.Session) error {
		err := s.Commit(ctx, pos)
		return errors.Join(err, errors.New("enough"))
	}}
	err := w.client.RunGroup(w.t.Context(), kafka.GroupConfig{Group: group, Topic: topic}, member)
	if err == nil || !strings.Contains(err.Error(), "enough") {
		w.t.Fatal(err)
	}
}

// visitor is another member of a group.
type visitor struct {
	work func(ctx context.Context, s *kafka.Session) error
}

func (v *visitor) Assigned(kafka.Assignment)                       {}
func (v *visitor) Run(ctx context.Context, s *kafka.Session) error { return v.work(ctx, s) }
func (v *visitor) Revoked()                                        {}
func (v *visitor) Unjoined(error)                                  {}

func TestIntoKeepsItsRate(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fill(60)
		cfg := config()
		cfg.Rate = 10
		var times []time.Time
		cfg.Progress = func(p Progress) {
			for range p.Done - int64(len(times)) {
				times = append(times, time.Now())
			}
		}
		if r, err := w.into(t.Context(), cfg); err != nil || r.Written != 60 {
			t.Fatalf("%+v %v", r, err)
		}
		if took := times[59].Sub(times[0]); took < 5500*time.Millisecond || took > 8*time.Second {
			t.Errorf("60 at 10 a second took %s", took)
		}
		w.wantCopies(w.all(results))
	})
}

func TestIntoIsInterrupted(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fill(60)
		cfg := config()
		cfg.Rate = 10
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		r, err := w.into(ctx, cfg)
		wantCode(t, err, CodeInterrupted)
		first := r.Run
		if n := int64(len(w.all(target))); n == 0 || n == 60 || r.Written > n || r.Left() < 60-n {
			t.Errorf("%d there, %+v", n, r)
		}
		cfg.Rate = 0
		r, err = w.into(t.Context(), cfg)
		if err != nil || !r.Resumed || r.Run != first {
			t.Errorf("%+v %v", r, err)
		}
		w.wantCopies(w.all(results))
	})
}

// Two at a time would write everything twice, or each a part that the other does
// not know of.
func TestOneReplayAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fill(60)
		cfg := config()
		cfg.Rate = 5
		var both sync.WaitGroup
		var errs [2]error
		for i := range errs {
			both.Go(func() {
				waited(t.Context(), time.Duration(i)*4*time.Second)
				_, errs[i] = Into(t.Context(), w.newClient(w.net.DialContext), cfg)
			})
		}
		both.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Errorf("%v", errs)
		}
		wantCode(t, errors.Join(errs[:]...), CodeBusy)
		w.wantCopies(w.all(results))
	})
}

// Brokers that go away in the middle are waited for, and the wait is told.
func TestIntoWaitsForBrokers(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fill(60)
		cfg := config()
		cfg.Rate = 10
		waits := 0
		cfg.Progress = func(p Progress) {
			if p.Waiting != nil {
				waits++
			}
		}
		link := &outage{dial: w.net.DialContext}
		c := w.newClient(link.DialContext)
		go func() {
			waited(t.Context(), 3*time.Second)
			link.set(true)
			waited(t.Context(), 90*time.Second)
			link.set(false)
		}()
		start := time.Now()
		r, err := Into(t.Context(), c, cfg)
		if err != nil || r.Left() != 0 {
			t.Fatalf("%+v %v", r, err)
		}
		if took := time.Since(start); took < 90*time.Second || waits == 0 {
			t.Errorf("it took %s and told of %d waits", took, waits)
		}
		w.wantCopies(w.all(results))
	})
}

func TestIntoFailsForGood(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fill(9)
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}, Err: kerr.TopicAuthorizationFailed})
		_, err := w.into(t.Context(), config())
		wantCode(t, err, CodeKafka)
		if kafka.CodeOf(err) != kafka.CodeDenied {
			t.Error(err)
		}
	})
}

// A record that the target refuses for good holds up nothing.
func TestIntoLeavesOutWhatIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fill(9)
		p := 1
		large := kafka.Message{Topic: results, Partition: &p, Value: slices.Repeat([]byte("x"), kafka.MaxMessageBytes-150), Timestamp: began}
		if err := w.client.Produce(t.Context(), []kafka.Message{large}); err != nil {
			t.Fatal(err)
		}
		w.fill(9)
		r, err := w.into(t.Context(), config())
		if err != nil || r.Written != 18 || r.Refused != 1 || !slices.Equal(r.Refusals, []string{"results/1@3"}) {
			t.Errorf("%+v %v", r, err)
		}
		w.wantCopies(slices.DeleteFunc(w.all(results), func(rec kafka.Record) bool { return len(rec.Value) > 100 }))
	})
}
