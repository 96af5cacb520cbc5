package redrive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

func wantOnce(t *testing.T, got map[string]int, n int) {
	t.Helper()
	if len(got) != n {
		t.Errorf("%d requests, want %d: %v", len(got), n, got)
	}
	for id, times := range got {
		if times != 1 {
			t.Errorf("%s was sent %d times", id, times)
		}
	}
}

func wantCode(t *testing.T, err error, code ErrorCode) {
	t.Helper()
	if CodeOf(err) != code {
		t.Errorf("%v, want code %q", err, code)
	}
}

func TestSurveyWritesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dead(many(20)...)
		r, err := Survey(t.Context(), w.client, config())
		if err != nil || r.Requests() != 20 || r.Calls.Creates != 20 {
			t.Fatalf("%+v %v", r, err)
		}
		if len(w.all(topics.Requests)) > 0 {
			t.Error("a survey sent requests")
		}
		for _, topic := range []string{topics.Journal, topics.Parking} {
			if _, err := w.client.Partitions(t.Context(), topic); kafka.CodeOf(err) != kafka.CodeUnknownTopic {
				t.Errorf("a survey made the topic %s: %v", topic, err)
			}
		}
	})
}

func TestRunRestoresTheRecord(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		own := []schemas.Header{{Key: "tenant", Value: []byte("a")}, {Key: schemas.HeaderTraceparent, Value: []byte("00-x")}, {Key: "tenant", Value: nil}}
		w.dead(letterOf{id: "c", op: schemas.OperationCreate, key: "k", class: schemas.ClassAmbiguous, attempts: 1, headers: own})
		letter := w.all(topics.DeadLetters)[0]
		dead, _, err := schemas.DecodeDeadLetter(letter.Headers)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := w.run(t.Context(), config()); err != nil {
			t.Fatal(err)
		}
		got := w.all(topics.Requests)
		if len(got) != 1 || string(got[0].Key) != "k" || string(got[0].Value) != string(letter.Value) {
			t.Fatalf("%+v", got)
		}
		again, faults := schemas.DecodeRedrive(got[0].Headers)
		if len(faults) > 0 || again.Redrives != 1 || again.LookSince == nil || !again.LookSince.Equal(dead.Timestamp) {
			t.Errorf("%+v %v, of a record of %s", again, faults, dead.Timestamp)
		}
		if again.NotAfter == nil || again.NotAfter.Before(began.Add(5*time.Minute)) || again.NotAfter.After(time.Now().Add(5*time.Minute)) {
			t.Errorf("deadline %v, begun at %v", again.NotAfter, began)
		}
		if n := len(own); len(got[0].Headers) != n+3 || fmt.Sprint(got[0].Headers[:n]) != fmt.Sprint(letter.Headers[:n]) {
			t.Errorf("headers %q", got[0].Headers)
		}
	})
}

func TestRunTwiceSendsOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dead(many(20)...)
		if r, err := w.run(t.Context(), config()); err != nil || r.Requests() != 20 {
			t.Fatalf("%+v %v", r, err)
		}
		w.dead(letterOf{id: "new", op: schemas.OperationCreate, class: schemas.ClassThrottled})
		r, err := w.run(t.Context(), config())
		if err != nil || r.Requests() != 1 || r.Already != 20 {
			t.Errorf("%+v %v", r, err)
		}
		wantOnce(t, w.ids(topics.Requests), 21)
	})
}

// What a filter passed over is there for the next run.
func TestFiltersMayDiffer(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		letters := many(10)
		for i := range letters {
			if i%3 == 0 {
				letters[i].class = schemas.ClassUnavailable
			}
		}
		w.dead(letters...)
		cfg := config()
		cfg.Filter.Classes = []schemas.Class{schemas.ClassUnavailable}
		if r, err := w.run(t.Context(), cfg); err != nil || r.Requests() != 4 || r.Matched != 4 || r.Read != 10 {
			t.Errorf("%+v %v", r, err)
		}
		if r, err := w.run(t.Context(), config()); err != nil || r.Requests() != 6 || r.Already != 4 {
			t.Errorf("%+v %v", r, err)
		}
		wantOnce(t, w.ids(topics.Requests), 10)
	})
}

func TestCapAndRate(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dead(many(50)...)
		cfg := config()
		cfg.Rate, cfg.Max = 2, 20
		var at []time.Time
		cfg.Progress = func(p Progress) {
			if p.Planned > 20 || p.Done > p.Planned {
				t.Errorf("%+v", p)
			}
			at = append(at, time.Now())
		}
		r, err := w.run(t.Context(), cfg)
		if err != nil || r.Requests() != 20 || r.Capped != 30 {
			t.Errorf("%+v %v", r, err)
		}
		if took := at[len(at)-1].Sub(at[1]); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("20 at 2 a second, the first at once, took %s", took)
		}
		wantOnce(t, w.ids(topics.Requests), 20)
		cfg.Rate = 0
		if r, err = w.run(t.Context(), cfg); err == nil && r.Capped == 10 {
			r, err = w.run(t.Context(), cfg)
		}
		if err != nil || r.Requests() != 10 || r.Capped != 0 {
			t.Errorf("%+v %v", r, err)
		}
		wantOnce(t, w.ids(topics.Requests), 50)
	})
}

func TestInterruptedRunGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dead(many(50)...)
		cfg := config()
		cfg.Rate = 20
		ctx, stop := context.WithCancel(t.Context())
		cfg.Progress = func(p Progress) {
			if p.Done >= 24 {
				stop()
			}
		}
		r, err := w.run(ctx, cfg)
		wantCode(t, err, CodeInterrupted)
		first := r.Requests()
		if first < 24 || first > 26 {
			t.Errorf("%d were sent before the end", first)
		}
		wantOnce(t, w.ids(topics.Requests), first)
		cfg.Progress = nil
		r, err = w.run(t.Context(), cfg)
		if err != nil || r.Requests() != 50-first {
			t.Errorf("%+v %v", r, err)
		}
		wantOnce(t, w.ids(topics.Requests), 50)
	})
}

// Two people at once: one of them redrives, nothing goes out twice.
func TestOneRunAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dead(many(60)...)
		cfg := config()
		cfg.Rate = 2
		var errs [2]error
		var sent [2]int
		var both sync.WaitGroup
		for i := range errs {
			client := w.newClient()
			both.Go(func() {
				if i == 1 {
					wait := time.NewTimer(8 * time.Second)
					<-wait.C
				}
				r, err := Run(t.Context(), client, cfg)
				errs[i], sent[i] = err, r.Requests()
			})
		}
		both.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || sent[0]+sent[1] != 60 {
			t.Errorf("%v, sent %v", errs, sent)
		}
		wantCode(t, errors.Join(errs[:]...), CodeBusy)
		wantOnce(t, w.ids(topics.Requests), 60)
	})
}

func TestParking(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		earlier := schemas.Redrive{Redrives: 5}.Headers() // by the record alone
		w.dead(
			letterOf{id: "fifth", op: schemas.OperationCreate, key: "a", class: schemas.ClassThrottled, redrives: 4},
			letterOf{id: "sixth", op: schemas.OperationCreate, key: "a", class: schemas.ClassThrottled, redrives: 5},
			letterOf{id: "uncounted", op: schemas.OperationCreate, key: "a", class: schemas.ClassThrottled, headers: earlier},
		)
		r, err := w.run(t.Context(), config())
		if err != nil || r.Requests() != 1 || r.Parked != 2 {
			t.Fatalf("%+v %v", r, err)
		}
		for _, rec := range w.all(topics.Requests) {
			if again, _ := schemas.DecodeRedrive(rec.Headers); again.Redrives != 5 {
				t.Errorf("%+v", again)
			}
		}
		parked := w.all(topics.Parking)
		if len(parked) != 2 || string(parked[0].Key) != "a" {
			t.Fatalf("%+v", parked)
		}
		for _, rec := range parked {
			if _, _, err := schemas.DecodeDeadLetter(rec.Headers); err != nil {
				t.Error(err)
			}
		}
		if r, err := w.run(t.Context(), config()); err != nil || r.Parked != 0 || r.Already != 3 {
			t.Errorf("%+v %v", r, err)
		}
		cfg := config()
		cfg.Topics.DeadLetters, cfg.ParkAfter = topics.Parking, 0
		if r, err := w.run(t.Context(), cfg); err != nil || r.Requests() != 2 {
			t.Errorf("from the parking: %+v %v", r, err)
		}
		wantOnce(t, w.ids(topics.Requests), 3)
	})
}

func TestPublishedTwiceIsRedrivenOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dead(letterOf{id: "a", op: schemas.OperationCreate, key: "k", class: schemas.ClassThrottled})
		again := w.all(topics.DeadLetters)[0]
		if err := w.client.Produce(t.Context(), []kafka.Message{{Topic: topics.DeadLetters, Key: again.Key, Value: again.Value, Headers: again.Headers}}); err != nil {
			t.Fatal(err)
		}
		if r, err := w.run(t.Context(), config()); err != nil || r.Requests() != 1 || r.Already != 1 {
			t.Errorf("%+v %v", r, err)
		}
		wantOnce(t, w.ids(topics.Requests), 1)
	})
}

// The journal belongs to the letters, not to the offsets of a topic that may be
// made anew.
func TestTopicMadeAnewIsRedriven(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dead(many(3)...)
		if _, err := w.run(t.Context(), config()); err != nil {
			t.Fatal(err)
		}
		if err := w.cluster.DeleteTopic(topics.DeadLetters); err != nil {
			t.Fatal(err)
		}
		if err := w.cluster.CreateTopic(topics.DeadLetters, 2, nil); err != nil {
			t.Fatal(err)
		}
		pass(t, 5*time.Second)
		letters := many(3)
		for i := range letters {
			letters[i].id += "-new"
		}
		w.dead(letters...)
		if r, err := w.run(t.Context(), config()); err != nil || r.Requests() != 3 {
			t.Errorf("%+v %v", r, err)
		}
	})
}

// picky refuses a request for good.
type picky struct {
	id     string
	calls  int
	passed []kafka.Message
}

func (p *picky) Fence(context.Context) error { return nil }

func (p *picky) Transact(_ context.Context, msgs []kafka.Message, _ kafka.Position) error {
	p.calls++
	for i, m := range msgs {
		if m.Topic == topics.Requests && strings.Contains(string(m.Value), `"id":"`+p.id+`"`) {
			return &kafka.PoisonError{Indexes: []int{i}, Err: errors.New("no")}
		}
	}
	p.passed = append(p.passed, msgs...)
	return nil
}

// What Kafka refuses for good is left out and named; the rest goes.
func TestPoisonIsLeftOut(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dead(many(5)...)
		j, err := survey(t.Context(), w.client, config())
		if err != nil {
			t.Fatal(err)
		}
		r := &run{job: j, cluster: w.client, planned: 5, refused: marks{}}
		j.report = Report{Refused: map[Reason]int{}}
		out := &picky{id: "r2"}
		for range 2 { // a second pass takes nothing that the first had in hand
			if err := r.pass(t.Context(), out); err != nil {
				t.Fatal(err)
			}
		}
		if len(out.passed) != 8 || out.calls != 2 || j.report.Requests() != 4 || j.report.Refused[ReasonTooLarge] != 1 || j.report.Refusals[0].RequestID != "r2" {
			t.Errorf("%d messages in %d calls, %+v", len(out.passed), out.calls, j.report)
		}
	})
}

func TestRunRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dead(many(1)...)
		for name, change := range map[string]func(*Config){
			"no group":     func(c *Config) { c.Group = "" },
			"no topic":     func(c *Config) { c.Topics.Parking = "" },
			"one topic":    func(c *Config) { c.Topics.Parking = c.Topics.DeadLetters },
			"negative":     func(c *Config) { c.Rate = -1 },
			"no number":    func(c *Config) { c.Rate = math.NaN() },
			"hardly ever":  func(c *Config) { c.Rate = 1e-300 },
			"no time":      func(c *Config) { c.Filter.Since, c.Filter.Until = time.Unix(2, 0), time.Unix(1, 0) },
			"wide journal": func(c *Config) { c.Topics.Journal, c.Topics.Requests = "requests", "other" },
		} {
			cfg := config()
			change(&cfg)
			if name == "wide journal" {
				if err := w.client.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "other", Partitions: 1}}); err != nil {
					t.Fatal(err)
				}
			}
			_, err := w.run(t.Context(), cfg)
			if CodeOf(err) != CodeInvalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		cfg := config()
		cfg.Topics.DeadLetters = "nowhere"
		_, err := w.run(t.Context(), cfg)
		wantCode(t, err, CodeKafka)
		if err := w.client.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: topics.Journal, Partitions: 1}}); err != nil {
			t.Fatal(err)
		}
		if err := w.client.Produce(t.Context(), []kafka.Message{{Topic: topics.Journal, Key: []byte("else"), Value: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
		_, err = w.run(t.Context(), config())
		wantCode(t, err, CodeInvalid)
		if got := w.ids(topics.Requests); len(got) > 0 {
			t.Error(got)
		}
	})
}

// pass lets virtual time pass.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
	synctest.Wait()
}

// stopped ends the run in the middle of a transaction.
type stopped struct {
	stop func()
	t    *testing.T
}

func (s stopped) Fence(context.Context) error { return nil }

func (s stopped) Transact(ctx context.Context, _ []kafka.Message, _ kafka.Position) error {
	s.stop()
	began := time.Now()
	<-ctx.Done()
	if left := time.Since(began); left != finishTime {
		s.t.Errorf("a transaction under way had %s to end, want %s", left, finishTime)
	}
	return ctx.Err()
}

// An interruption gives the transaction under way its time, and no more.
func TestInterruptionLetsATransactionEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dead(many(5)...)
		j, err := survey(t.Context(), w.client, config())
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		r := &run{job: j, cluster: w.client, planned: 5, refused: marks{}}
		wantCode(t, r.pass(ctx, stopped{stop: stop, t: t}), CodeInterrupted)
	})
}
