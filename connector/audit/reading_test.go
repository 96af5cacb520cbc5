package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// answered are six requests, all answered and worked off.
func (w *world) answered() {
	w.t.Helper()
	for p := range 2 {
		for i := range 3 {
			w.answer(0, w.ask(p, fmt.Sprintf("r%d%d", p, i)))
		}
	}
	w.worked()
}

// A run that goes on knows as one that was never interrupted that nothing is left of
// a log of answers.
func TestInterruptedBesideAnEmptyLog(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.answer(0, w.ask(0, "a"))
		w.answer(1, w.ask(0, "b"))
		w.forget(topics.Results, 1, 1)
		w.worked()
		whole := shown(w.audit(config()))
		interrupted := 0
		for n := range 8 {
			cfg := config()
			cfg.State = filepath.Join(t.TempDir(), "state")
			ctx, cancel := context.WithCancelCause(t.Context())
			_, err := Run(ctx, &interrupting{Cluster: w.client, left: n, end: cancel}, cfg)
			cancel(nil)
			if err == nil {
				continue
			}
			interrupted++
			if got := shown(w.audit(cfg)); !slices.Equal(got, whole) {
				t.Errorf("interrupted at the reading %d: %v, want %v", n, got, whole)
			}
		}
		if interrupted == 0 {
			t.Error("nothing was interrupted")
		}
	})
}

// An answer whose clock is behind that of the requests may be older than what is left
// of its log, though its request is not.
func TestAnswersDeletedBySlowClock(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		slow := func(a ask) {
			a.at.Timestamp = a.at.Timestamp.Add(-5 * time.Second)
			w.answer(0, a, func(r *schemas.Result) { r.Request.Timestamp = a.at.Timestamp.Add(5 * time.Second) })
		}
		slow(w.ask(0, "a"))
		unburied := w.ask(0, "unburied")
		w.answer(1, unburied, failed)
		slow(w.ask(0, "c"))
		w.forget(topics.Results, 0, 1)
		w.worked()
		cfg := config()
		cfg.Skew = 6 * time.Second
		want(t, w.audit(cfg), "missing no_dead_letter: 0@1 unburied results/1@0", "gap answers_retention: 0@0-1")
		cfg.Skew = time.Second
		want(t, w.audit(cfg), "missing no_answer: 0@0 a", "missing no_dead_letter: 0@1 unburied results/1@0")
	})
}

// listed asks for a list.
func (w *world) listed(id string) ask {
	return w.ask(0, id, func(r *schemas.Request) { r.Operation, r.Create, r.List = schemas.OperationList, nil, &schemas.List{} })
}

// What of an answer retention may have taken is neither missing nor there: of a failure
// the dead letter, of a list a record, each with the start of its own log.
func TestPartOfAnAnswerDeleted(t *testing.T) {
	for topic, lines := range map[string][]string{
		topics.DeadLetters: {"missing no_answer: 0@2 lost", "missing no_page: 0@1 listed results/1@1 results/1@2", "gap answers_retention: 0@0-4"},
		topics.Results:     {"missing no_dead_letter: 0@0 unburied results/1@0", "gap answers_retention: 0@1-4"},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			w.answer(1, w.ask(0, "unburied"), failed)
			w.pages(w.listed("listed"), 1, 0, 2)
			w.ask(0, "lost")
			w.askRaw(0, ask{value: []byte("no json")})
			w.bury(w.askRaw(1, ask{value: []byte("no json")}), false)
			w.answer(2, w.ask(1, "last"))
			w.worked()
			if topic == topics.Results {
				w.forget(topic, 2, 1)
			} else {
				w.forget(topic, 0, 1)
			}
			cfg := config()
			cfg.Offsets = []OffsetSpan{{0, 0, 4}}
			r := w.audit(cfg)
			slices.Sort(lines)
			got := shown(r)
			slices.Sort(got)
			if !slices.Equal(got, lines) {
				t.Errorf("%s: found %q, want %q", topic, got, lines)
			}
			gone := int64(2)
			if topic == topics.Results {
				gone = 3
			}
			if c := r.Counts; c.AnswersGone != gone || c.AnsweredOnce != 0 || r.Clean() {
				t.Errorf("%s: %+v", topic, c)
			}
		})
	}
}

// What has not been worked off yet may still be on its way, be it a part of an answer.
func TestPartOfAnAnswerOnItsWay(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.answer(1, w.ask(0, "unburied"), failed)
		w.pages(w.listed("listed"), 1, 0, 2)
		w.work(0, 0)
		r := w.audit(config())
		want(t, r, "open_window not_worked_off: 0@0-2")
		if c := r.Counts; c.Waiting != 2 || c.AnsweredOnce != 0 {
			t.Errorf("%+v", c)
		}
		w.worked()
		want(t, w.audit(config()), "missing no_dead_letter: 0@0 unburied results/1@0", "missing no_page: 0@1 listed results/1@1 results/1@2")
	})
}

// A dead letter that answers nothing is named, and of very many the first.
func TestPlacesOfDeadLetters(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.ask(0, "a")
		w.answer(0, a, failed)
		for range mostLetters + 3 {
			w.bury(a, true)
		}
		w.abort(topics.Requests, 0, a.value)
		ghost := a
		ghost.at.Offset = 1
		w.bury(ghost, true)
		w.answer(0, w.ask(0, "b"))
		w.worked()
		r := w.audit(config())
		want(t, r, "duplicate dead_letter_twice: 0@0 a dead/0@0 dead/0@1 dead/0@2 dead/0@3 dead/0@4 dead/0@5 dead/0@6 dead/0@7 dead/0@8 dead/0@9",
			"orphan no_such_request: 0@1 a dead/0@13")
		if f := r.Findings[0]; f.Count != mostLetters+2 {
			t.Errorf("%+v", f)
		}
	})
}

// unawaited is a cluster on which open transactions are not waited for, as if they had
// begun a moment later.
type unawaited struct{ Cluster }

func (unawaited) AwaitStable(context.Context, string, int) error { return nil }

// A window by time is over when its transactions are: a request that is not committed
// yet belongs to it.
func TestWindowWithOpenTransaction(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.answered()
		late := schemas.Request{ID: "late", Operation: schemas.OperationCreate, ServiceSID: service, Identity: identity, Create: &schemas.Create{FactorSID: factor}}
		value, err := late.Encode()
		must(t, err)
		at := w.tick()
		c, err := kgo.NewClient(kgo.SeedBrokers(w.addrs...), kgo.Dialer(w.net.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("open"))
		must(t, err)
		defer c.Close()
		must(t, c.BeginTransaction())
		must(t, c.ProduceSync(t.Context(), &kgo.Record{Topic: topics.Requests, Value: value, Timestamp: at}).FirstErr())
		cfg := config()
		cfg.From, cfg.To = epoch, at.Add(time.Millisecond)
		w.tick()
		r, err := Run(t.Context(), unawaited{w.client}, cfg)
		must(t, err)
		want(t, r, "open_window not_ended: -")
		ended := make(chan error, 1)
		go func() {
			<-time.After(10 * time.Second)
			ended <- c.EndTransaction(t.Context(), kgo.TryCommit)
		}()
		r = w.audit(cfg)
		must(t, <-ended)
		want(t, r, "open_window not_worked_off: 0@3-4")
		if r.Counts.Requests != 7 {
			t.Errorf("%d requests", r.Counts.Requests)
		}
	})
}

// forgetting is a cluster that loses the beginning of a partition when it begins to be
// read for the nth time.
type forgetting struct {
	Cluster
	w         *world
	topic     string
	partition int
	below     int64
	left      int
}

func (f *forgetting) Cursor(topic string, partition int, from, end int64, most int) *kafka.Cursor {
	if topic == f.topic && partition == f.partition {
		if f.left--; f.left == 0 {
			f.w.forget(topic, partition, f.below)
		}
	}
	return f.Cluster.Cursor(topic, partition, from, end, most)
}

// What retention takes between the first and the second reading of the results ends no
// audit; that two answers can't be compared any more is said.
func TestRetentionInSecondReading(t *testing.T) {
	for below, line := range map[int64]string{
		1: "duplicate id_called_twice: 0@2 same results/0@1 results/0@2",
		2: "gap answers_retention: - results/0@0 results/0@1",
		3: "gap answers_retention: - results/0@0 results/0@2",
	} {
		inBubble(t, func(t *testing.T, w *world) {
			for _, id := range []string{"first", "same", "same", "last"} {
				w.answer(0, w.ask(0, id))
			}
			w.worked()
			cfg := config()
			cfg.State = filepath.Join(t.TempDir(), "state")
			r, err := Run(t.Context(), &forgetting{Cluster: w.client, w: w, topic: topics.Results, below: below, left: 2}, cfg)
			must(t, err)
			want(t, r, line)
			data, err := r.Encode()
			must(t, err)
			_, err = Decode(data)
			must(t, err)
			must(t, r.Text(io.Discard))
			must(t, r.HTML(io.Discard))
		})
	}
}

// What retention takes before the results are read for the comparison with the API is
// no secret: so many offsets are not compared.
func TestRetentionBeforeTheComparison(t *testing.T) {
	for below := range int64(4) {
		inBubble(t, func(t *testing.T, w *world) {
			api := word{records: map[string]json.RawMessage{}}
			for n := range 3 {
				w.answer(0, w.ask(0, fmt.Sprintf("r%d", n)))
				api.records[sidOf(n+1)] = challengeOf(n+1, "pending")
			}
			w.worked()
			cfg := config()
			cfg.Compare = &CompareConfig{Accounts: map[string]Challenges{"": api}, Budget: 100}
			var last Progress
			cfg.Progress = func(p Progress) {
				if last.Comparing && !p.Comparing {
					t.Errorf("%+v behind %+v", p, last)
				}
				last = p
			}
			r, err := Run(t.Context(), &forgetting{Cluster: w.client, w: w, topic: topics.Results, below: below, left: 2}, cfg)
			must(t, err)
			want(t, r)
			if r.API.Deleted != below || r.API.Compared != 3-below || r.API.Challenges != 3-below {
				t.Errorf("below %d: %+v", below, r.API)
			}
			if said := strings.Contains(text(t, r), "offsets of results were deleted"); said != (below > 0) {
				t.Errorf("below %d: said %t", below, said)
			}
			if below < 3 && last != (Progress{Done: 3 - below, Total: 3 - below, Comparing: true}) {
				t.Errorf("below %d: the last progress is %+v", below, last)
			}
		})
	}
}

// What retention takes just before it is read is a gap.
func TestRetentionInFirstReading(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.answered()
		r, err := Run(t.Context(), &forgetting{Cluster: w.client, w: w, topic: topics.Requests, below: 2, left: 1}, config())
		must(t, err)
		want(t, r, "gap retention: 0@0-2")
	})
}

// lag has the broker answer fetches of a partition, from one on, as a leader does that
// does not know yet how far it is: so many times, or for good where that is -1. It
// tells how many it answered so.
func (w *world) lag(topic string, partition int32, from int64, times int) *int {
	answered := 0
	w.cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		r := req.(*kmsg.FetchRequest)
		if answered == times || len(r.Topics) != 1 || r.Topics[0].Topic != topic {
			return nil, nil, false
		}
		if p := r.Topics[0].Partitions[0]; p.Partition != partition || p.FetchOffset < from {
			return nil, nil, false
		}
		answered++
		res := r.ResponseKind().(*kmsg.FetchResponse)
		t := kmsg.NewFetchResponseTopic()
		t.Topic = topic
		p := kmsg.NewFetchResponseTopicPartition()
		p.Partition, p.LastStableOffset, p.RecordBatches = partition, 0, []byte{}
		t.Partitions = append(t.Partitions, p)
		res.Topics = append(res.Topics, t)
		return res, nil, true
	})
	return &answered
}

// A leader that does not know yet how far its log is makes nothing of it vanish.
func TestReadingLaggingLeader(t *testing.T) {
	for _, topic := range []string{topics.Requests, topics.Results} {
		for _, times := range []int{1, 30} {
			inBubble(t, func(t *testing.T, w *world) {
				w.answered()
				lagged := w.lag(topic, 0, 0, times)
				cfg := config()
				said := ""
				cfg.Progress = func(p Progress) {
					if p.Waiting != nil {
						said = p.Waiting.Error()
					}
				}
				want(t, w.audit(cfg))
				if *lagged != times || !strings.Contains(said, "the log ends at 0, below ") {
					t.Errorf("%s: lagged %d times, said %q", topic, *lagged, said)
				}
			})
		}
	}
}

// A leader that is further behind than what was read calls that out of range.
func TestReadingBehindTheLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.answered()
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topics.Results, Err: kerr.OffsetOutOfRange, Count: 5})
		defer fault.Remove()
		want(t, w.audit(config()))
		if fault.Hits() != 5 {
			t.Errorf("%d faults", fault.Hits())
		}
	})
}

// A leader may lag in any reading: of the results once more, and of the records that
// the findings are about.
func TestReadingLaggingLeaderAtTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		seeded(t, w)
		started := time.Now()
		r, err := Run(t.Context(), &laggard{Cluster: w.client, w: w}, config())
		must(t, err)
		want(t, r, seededFindings...)
		if took := time.Since(started); took < 20*time.Second {
			t.Errorf("took %v: hardly anything lagged", took)
		}
	})
}

// laggard is a cluster whose leaders lag when a partition is read for the second time
// and ever after, a few times each.
type laggard struct {
	Cluster
	w    *world
	mu   sync.Mutex
	seen map[string]bool
}

func (l *laggard) Cursor(topic string, partition int, from, end int64, most int) *kafka.Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[string]bool{}
	}
	of := fmt.Sprint(topic, partition)
	if l.seen[of] {
		l.w.lag(topic, int32(partition), from, 2)
	}
	l.seen[of] = true
	return l.Cluster.Cursor(topic, partition, from, end, most)
}

// Where a log has lost its end, it is waited for, and then said: of requests it is a
// gap, and where it is of answers, none is called missing.
func TestReadingLostEnd(t *testing.T) {
	for topic, lines := range map[string][]string{
		topics.Requests: {"gap absent: 0@1-3"},
		topics.Results:  {"gap answers_retention: 0@2-3", "gap answers_retention: 1@0-3"},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			w.answered()
			from := int64(1)
			if topic == topics.Results {
				from = 2
			}
			w.lag(topic, 0, from, -1)
			// Pages are cut where the log seems to end.
			cfg := config()
			done, total := int64(0), int64(0)
			cfg.Progress = func(p Progress) { done, total = p.Done, p.Total }
			started := time.Now()
			r, err := Run(t.Context(), &narrow{w.client}, cfg)
			must(t, err)
			want(t, r, lines...)
			if took := time.Since(started); took < lagging || took > 3*lagging {
				t.Errorf("took %v", took)
			}
			if done != total {
				t.Errorf("%d of %d offsets are done", done, total)
			}
		})
	}
}

// narrow is a cluster that is read record by record.
type narrow struct{ Cluster }

func (n *narrow) Cursor(topic string, partition int, from, end int64, _ int) *kafka.Cursor {
	return n.Cluster.Cursor(topic, partition, from, end, 1)
}

// slow is a cluster on which it takes a moment until anything can be read.
type slow struct{ Cluster }

func (s slow) Cursor(topic string, partition int, from, end int64, most int) *kafka.Cursor {
	<-time.After(700 * time.Millisecond)
	return s.Cluster.Cursor(topic, partition, from, end, most)
}

// Progress goes on when everything is read and the findings are looked up.
func TestProgressOfTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		seeded(t, w)
		cfg := config()
		var last time.Time
		longest, whole := time.Duration(0), 0
		cfg.Progress = func(p Progress) {
			if p.Done == p.Total && p.Waiting == nil {
				whole++
			}
			if !last.IsZero() {
				longest = max(longest, time.Since(last))
			}
			last = time.Now()
		}
		r, err := Run(t.Context(), slow{w.client}, cfg)
		must(t, err)
		want(t, r, seededFindings...)
		if longest > 2*lifeSign || time.Since(last) > 2*lifeSign || whole < 10 {
			t.Errorf("%v without a word, then %v; %d at the end", longest, time.Since(last), whole)
		}
	})
}
