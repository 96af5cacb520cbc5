package replay

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/connector/kafka"
)

func (w *world) make(topic string, partitions int, settings map[string]string) {
	w.t.Helper()
	spec := kafka.TopicSpec{Name: topic, Partitions: partitions, Configs: settings}
	if err := w.client.EnsureTopics(w.t.Context(), []kafka.TopicSpec{spec}); err != nil {
		w.t.Fatal(err)
	}
}

// What is older than the target keeps would be deleted as soon as it is written.
func TestIntoRefusesATargetThatForgets(t *testing.T) {
	for name, c := range map[string]struct {
		settings map[string]string
		window   Window
		says     string // empty: it is taken
	}{
		"too short":     {map[string]string{"retention.ms": "3600000"}, Window{}, "rebuilt has retention.ms=3600000 (1h0m0s), and the first record to copy is of 1999-12-31T00:00:00Z, 24h0m0s ago"},
		"by a little":   {map[string]string{"retention.ms": "86390000"}, Window{}, "Set retention.ms=-1, or a longer one"},
		"long enough":   {map[string]string{"retention.ms": "90000000"}, Window{}, ""},
		"without limit": {map[string]string{"retention.ms": "-1"}, Window{}, ""},
		"a late window": {map[string]string{"retention.ms": "86000000"}, Window{From: began.Add(20 * time.Minute)}, ""},
		"offsets":       {map[string]string{"retention.ms": "86000000"}, Window{Offsets: []Span{{0, 8, 10}}}, ""},
		"first offsets": {map[string]string{"retention.ms": "86000000"}, Window{Offsets: []Span{{2, 0, 10}}}, "Set retention.ms=-1"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.fill(30)
				w.make(target, parts, c.settings)
				cfg := config()
				cfg.Window = c.window
				_, planned := Plan(t.Context(), w.client, cfg)
				r, err := w.into(t.Context(), cfg)
				if c.says != "" {
					wantCode(t, planned, CodeInvalid, c.says)
					wantCode(t, err, CodeInvalid, c.says)
					return
				}
				if planned != nil || err != nil || r.Written == 0 || r.Left() != 0 {
					t.Errorf("%v, %+v %v", planned, r, err)
				}
			})
		})
	}
}

// cluster is one whose topics have other settings where nothing is said, and where
// somebody may be faster.
type cluster struct {
	*kafka.Client
	defaults map[string]string
	before   func()
	slow     int // so many questions are answered as if the topic was not there
}

func (c *cluster) EnsureTopics(ctx context.Context, specs []kafka.TopicSpec) error {
	if c.before != nil {
		c.before()
	}
	for i := range specs {
		all := map[string]string{}
		maps.Copy(all, c.defaults)
		maps.Copy(all, specs[i].Configs)
		specs[i].Configs = all
	}
	return c.Client.EnsureTopics(ctx, specs)
}

func (c *cluster) Partitions(ctx context.Context, topic string) (int, error) {
	n, err := c.Client.Partitions(ctx, topic)
	if err == nil && topic == target && c.slow > 0 {
		c.slow--
		return 0, &kafka.Error{Code: kafka.CodeUnknownTopic}
	}
	return n, err
}

func TestIntoMakesATargetThatKeeps(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fill(30)
		c := &cluster{Client: w.client, slow: 5, defaults: map[string]string{
			"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime", "retention.ms": "1000",
		}}
		if r, err := Into(t.Context(), c, config()); err != nil || r.Written != 30 || !r.Makes {
			t.Fatalf("%+v %v", r, err)
		}
		w.wantCopies(w.all(results))
		got, err := w.client.TopicSettings(t.Context(), target, policy, clock, retention)
		if err != nil || !maps.Equal(got, map[string]string{"cleanup.policy": "delete", "message.timestamp.type": "CreateTime", "retention.ms": "-1"}) {
			t.Errorf("%v %v", got, err)
		}
	})
}

// Between the look at a target that is not there and its making, somebody else may
// make it.
func TestIntoLooksAgainAtAnothersTarget(t *testing.T) {
	for name, c := range map[string]struct {
		partitions int
		settings   map[string]string
		says       string // empty: it is taken
	}{
		"compacted":   {parts, map[string]string{"cleanup.policy": "compact"}, "compacted"},
		"append time": {parts, map[string]string{"message.timestamp.type": "LogAppendTime"}, "LogAppendTime"},
		"forgets":     {parts, map[string]string{"retention.ms": "1000"}, "retention.ms=1000"},
		"narrow":      {1, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.fill(30)
				_, err := Into(t.Context(), &cluster{Client: w.client, before: func() { w.make(target, c.partitions, c.settings) }}, config())
				if c.says != "" {
					wantCode(t, err, CodeInvalid, c.says)
				} else if err != nil {
					t.Error(err)
				}
				if n := len(w.all(target)); (n == 30) != (c.says == "") {
					t.Errorf("%d records", n)
				}
			})
		})
	}
}

// A topic that never shows up is not waited for any longer.
func TestIntoGivesUpOnATargetThatIsNotThere(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fill(3)
		start := time.Now()
		_, err := Into(t.Context(), &cluster{Client: w.client, slow: 1000}, config())
		wantCode(t, err, CodeKafka, "the brokers don't know of it")
		if took := time.Since(start); took < patience || took > 2*patience {
			t.Errorf("it took %s", took)
		}
	})
}

// A topic that a connector lives from is live, also where nobody has said its name.
func TestIntoRefusesWhatIsInUse(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, cfg *Config)
		says   string // empty: it is taken
	}{
		"nothing of it": {func(*world, *Config) {}, ""},
		"of its requests": {
			func(_ *world, cfg *Config) { cfg.Target = requests },
			"requests is a live topic: its requests are what the results of results answer",
		},
		"read by the connector": {
			func(w *world, _ *Config) { w.consume("own", target) },
			"rebuilt is a live topic: the group own has committed offsets on it",
		},
		"read by others":      {func(w *world, _ *Config) { w.consume("downstream", target) }, ""},
		"the connector's":     {func(w *world, _ *Config) { w.consume("replay", requests) }, "the group replay has committed offsets on requests"},
		"the downstream's":    {func(w *world, _ *Config) { w.consume("replay", target) }, "the group replay has committed offsets on rebuilt"},
		"the chain's":         {chained, ""},
		"may not be told":     {func(w *world, _ *Config) { w.consume("own", target); w.deny("own") }, ""},
		"requests are gone":   {func(w *world, _ *Config) { w.discard(requests) }, ""},
		"brokers stay silent": {func(w *world, _ *Config) { w.fail("own") }, "kafka"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.fill(3)
				w.story().asked(3)
				w.make(target, parts, map[string]string{"retention.ms": "-1"})
				cfg := config()
				cfg.Live, cfg.Connectors = nil, []string{"own"}
				c.change(w, &cfg)
				before := len(w.all(cfg.Target))
				_, planned := Plan(t.Context(), w.client, cfg)
				r, err := w.into(t.Context(), cfg)
				switch {
				case c.says == "kafka":
					wantCode(t, err, CodeKafka)
				case c.says != "":
					wantCode(t, planned, CodeInvalid, c.says)
					wantCode(t, err, CodeInvalid, c.says)
				case planned != nil || err != nil || r.Written != 6:
					t.Errorf("%v, %+v %v", planned, r, err)
				}
				if n := len(w.all(cfg.Target)) - before; c.says != "" && n != 0 {
					t.Errorf("it wrote %d", n)
				}
			})
		})
	}
}

// chained is a replay of the same group that reads what this one writes.
func chained(w *world, _ *Config) {
	first := 0
	if err := w.client.Produce(w.t.Context(), []kafka.Message{{Topic: target, Partition: &first, Value: []byte("x"), Timestamp: began}}); err != nil {
		w.t.Fatal(err)
	}
	cfg := config()
	cfg.Source, cfg.Target = target, "again"
	if r, err := w.into(w.t.Context(), cfg); err != nil || r.Written != 1 {
		w.t.Fatalf("%+v %v", r, err)
	}
}

func (w *world) discard(topic string) {
	w.t.Helper()
	admin, err := kgo.NewClient(kgo.SeedBrokers(w.addrs...), kgo.Dialer(w.net.DialContext))
	if err != nil {
		w.t.Fatal(err)
	}
	defer admin.Close()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames, req.Topics = []string{topic}, []kmsg.DeleteTopicsRequestTopic{{Topic: &topic}}
	if _, err := req.RequestWith(w.t.Context(), admin); err != nil {
		w.t.Fatal(err)
	}
}

// deny and fail answer questions for a group's offsets.
func (w *world) deny(group string) { w.offsets(group, kerr.GroupAuthorizationFailed) }
func (w *world) fail(group string) { w.offsets(group, kerr.CoordinatorNotAvailable) }

func (w *world) offsets(group string, with *kerr.Error) {
	w.cluster.ControlKey(int16(kmsg.OffsetFetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		req := kreq.(*kmsg.OffsetFetchRequest)
		if req.Group != group {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.OffsetFetchResponse)
		res.ErrorCode = with.Code
		return res, nil, true
	})
}
