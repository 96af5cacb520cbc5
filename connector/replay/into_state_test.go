package replay

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/connector/kafka"
)

// begun lets a run write a part of what fill wrote, at a rate of 10, and stops it.
func (w *world) begun(cfg Config) Report {
	w.t.Helper()
	cfg.Rate = 10
	ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Second)
	defer cancel()
	r, err := w.into(ctx, cfg)
	wantCode(w.t, err, CodeInterrupted)
	return r
}

// What the log has lost since a run was stopped is not left out without a word.
func TestIntoSaysWhatIsGone(t *testing.T) {
	for name, window := range map[string]Window{
		"all":     {},
		"from":    {From: began.Add(-time.Minute)},
		"to":      {To: began.Add(100 * time.Hour)},
		"both":    {From: began, To: began.Add(50 * time.Minute)},
		"offsets": {Offsets: []Span{{0, 0, 20}, {1, 0, 20}, {2, 0, 20}}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.fill(60)
				cfg := config()
				cfg.Window = window
				w.begun(cfg)
				there := len(w.all(target))
				if err := w.cluster.DeleteRecords(results, 0, 18); err != nil {
					t.Fatal(err)
				}
				_, err := w.into(t.Context(), cfg)
				wantCode(t, err, CodeState, "results/0 has no offset", "is gone")
				if n := len(w.all(target)); n != there {
					t.Errorf("it wrote %d", n-there)
				}
				if len(window.Offsets) > 0 {
					return
				}
				cfg.Restart = true
				if r, err := w.into(t.Context(), cfg); err != nil || r.Written == 0 || r.Left() != 0 {
					t.Errorf("anew: %+v %v", r, err)
				}
			})
		})
	}
}

// A run that was done lacks nothing when the log loses what it has copied; but what
// came later, and is gone, was to be copied too, unless the window ends before.
func TestIntoIsDoneWhenItsRecordsAreGone(t *testing.T) {
	for name, c := range map[string]struct {
		window Window
		gap    bool
	}{
		"all":     {Window{}, true},
		"to":      {Window{To: began.Add(15 * time.Minute)}, false},
		"nothing": {Window{To: began}, false},
		"offsets": {Window{Offsets: []Span{{0, 0, 5}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.fill(30)
				cfg := config()
				cfg.Window = c.window
				if _, err := w.into(t.Context(), cfg); err != nil {
					t.Fatal(err)
				}
				if err := w.cluster.DeleteRecords(results, 0, 10); err != nil {
					t.Fatal(err)
				}
				if r, err := w.into(t.Context(), cfg); err != nil || r.Left() != 0 || r.Written != 0 {
					t.Errorf("%+v %v", r, err)
				}
				w.fill(30)
				if err := w.cluster.DeleteRecords(results, 0, 15); err != nil {
					t.Fatal(err)
				}
				r, err := w.into(t.Context(), cfg)
				if c.gap {
					wantCode(t, err, CodeState, "results/0 has no offset 10 any more")
				} else if err != nil || r.Written != 0 {
					t.Errorf("%+v %v", r, err)
				}
			})
		})
	}
}

// What is done is done, also where a transaction's marker is all that the last page
// held.
func TestIntoIsDoneBehindMarkers(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		p := 0
		large := kafka.Message{Topic: results, Partition: &p, Value: slices.Repeat([]byte("x"), 70<<10), Timestamp: began}
		if err := w.client.Produce(t.Context(), []kafka.Message{large}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.into(t.Context(), config()); err != nil {
			t.Fatal(err)
		}
		cfg := config()
		cfg.Source, cfg.Target, cfg.Group = target, "again", "other"
		r, err := w.into(t.Context(), cfg)
		if err != nil || r.Written != 1 {
			t.Fatalf("%+v %v", r, err)
		}
		if err := w.cluster.DeleteRecords(target, 0, r.Partitions[0].To); err != nil {
			t.Fatal(err)
		}
		if r, err := w.into(t.Context(), cfg); err != nil || r.Left() != 0 {
			t.Errorf("%+v %v", r, err)
		}
	})
}

// What was left out before counts in every run that goes on.
func TestIntoRemembersWhatIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		p := 1
		large := kafka.Message{Topic: results, Partition: &p, Value: slices.Repeat([]byte("x"), kafka.MaxMessageBytes-150), Timestamp: began}
		tooLarge := func() {
			t.Helper()
			if err := w.client.Produce(t.Context(), []kafka.Message{large}); err != nil {
				t.Fatal(err)
			}
		}
		tooLarge()
		w.fill(60)
		tooLarge()
		if r := w.begun(config()); r.Refused != 1 {
			t.Errorf("%+v", r)
		}
		r, err := w.into(t.Context(), config())
		if err != nil || r.Refused != 2 || !slices.Equal(r.Refusals, []string{"results/1@21"}) {
			t.Errorf("%+v %v", r, err)
		}
		for range 2 {
			plan, err := Plan(t.Context(), w.client, config())
			again, failed := w.into(t.Context(), config())
			if err != nil || failed != nil || plan.Refused != 2 || again.Refused != 2 || len(again.Refusals) != 0 {
				t.Errorf("%+v %v, %+v %v", plan, err, again, failed)
			}
			w.fill(3)
		}
		cfg := config()
		cfg.Restart = true
		if r, err := w.into(t.Context(), cfg); err != nil || r.Refused != 2 || len(r.Refusals) != 2 {
			t.Errorf("anew: %+v %v", r, err)
		}
	})
}

// A member that has to join again counts what it left out once.
func TestIntoCountsWhatIsRefusedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		p := 1
		large := kafka.Message{Topic: results, Partition: &p, Value: slices.Repeat([]byte("x"), kafka.MaxMessageBytes-150), Timestamp: began}
		if err := w.client.Produce(t.Context(), []kafka.Message{large}); err != nil {
			t.Fatal(err)
		}
		w.fill(60)
		cfg := config()
		cfg.Rate = 10
		var ousted bool
		w.cluster.ControlKey(int16(kmsg.TxnOffsetCommit), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			req := kreq.(*kmsg.TxnOffsetCommitRequest)
			asked := req.Topics[0].Partitions[0]
			if ousted || asked.Partition != 1 || asked.Offset == 0 {
				return nil, nil, false
			}
			ousted = true
			at := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			at.Partition, at.ErrorCode = 1, kerr.IllegalGeneration.Code
			topic := kmsg.NewTxnOffsetCommitResponseTopic()
			topic.Topic, topic.Partitions = results, append(topic.Partitions, at)
			res := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
			res.Topics = append(res.Topics, topic)
			return res, nil, true
		})
		r, err := w.into(t.Context(), cfg)
		if err != nil || r.Refused != 1 || len(r.Refusals) != 1 || !ousted {
			t.Errorf("%+v %v, ousted %v", r, err, ousted)
		}
	})
}

// Progress of a release that kept it in another way is not taken up, and said so.
func TestIntoRefusesAnotherVersionsProgress(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fill(9)
		w.commit("replay", results, kafka.Position{Offset: 1, Metadata: `{"countersign_replay":1,"epoch":1,"run":"R","window":"x","target":"rebuilt"}`})
		_, err := w.into(t.Context(), config())
		wantCode(t, err, CodeState, "the group replay is in a replay of another release", "version 1")
	})
}

// A log that ends earlier for a while, as it may behind a new leader, is waited for;
// one that stays short is not, and a later run goes on.
func TestIntoWaitsForALogThatLags(t *testing.T) {
	for name, c := range map[string]struct {
		lasts time.Duration
		fails bool
	}{"for a while": {40 * time.Second, false}, "for good": {10 * time.Minute, true}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.fill(60)
				start := time.Now()
				w.lag(results, 0, c.lasts)
				cfg := config()
				cfg.Rate = 100
				said := 0
				cfg.Progress = func(p Progress) {
					if p.Waiting != nil {
						said++
					}
				}
				r, err := w.into(t.Context(), cfg)
				if said < 20 {
					t.Errorf("it said so %d times", said)
				}
				took := time.Since(start)
				if !c.fails {
					if err != nil || r.Left() != 0 || took < c.lasts || took > c.lasts+20*time.Second {
						t.Errorf("%+v %v after %s", r, err, took)
					}
					w.wantCopies(w.all(results))
					return
				}
				wantCode(t, err, CodeKafka, "results/1", "ended at offset 20 or later", "now it ends at 0", "has a new leader lost the rest?")
				if took < lagging || took > 2*lagging || r.Left() == 0 {
					t.Errorf("%+v after %s", r, took)
				}
				waited(t.Context(), c.lasts)
				if r, err := w.into(t.Context(), config()); err != nil || !r.Resumed || r.Left() != 0 {
					t.Errorf("%+v %v", r, err)
				}
				w.wantCopies(w.all(results))
			})
		})
	}
}
