package connector

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// troubledLog is a model log whose position or fetches can be made to hang or
// fail.
type troubledLog struct {
	*modelLog
	position chan struct{} // Position waits for it when set
	fetchErr func(offset int64) error
}

func (l *troubledLog) Position(ctx context.Context) (kafka.Position, error) {
	if l.position != nil {
		select {
		case <-l.position:
		case <-ctx.Done():
			return kafka.Position{}, ctx.Err()
		}
	}
	return l.modelLog.Position(ctx)
}

func (l *troubledLog) Fetch(ctx context.Context, offset int64, maxBytes int, maxWait time.Duration) (kafka.Fetched, error) {
	if l.fetchErr != nil {
		if err := l.fetchErr(offset); err != nil {
			return kafka.Fetched{}, err
		}
	}
	return l.modelLog.Fetch(ctx, offset, maxBytes, maxWait)
}

// TestStatusNeverWaits: a lane whose coordinator does not answer yet gives a
// status all the same. A host takes silence for a hang.
func TestStatusNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.src = &troubledLog{modelLog: r.log, position: make(chan struct{})}
		r.start()
		pass(time.Minute)
		began := time.Now()
		if s, ok := r.lane.snapshot(); !ok || s.Committed != -1 || !time.Now().Equal(began) {
			t.Errorf("got %+v, %v after %v", s, ok, time.Since(began))
		}
		r.mustEnd()
	})
}

// TestFatalFetchFinishesWhatIsInFlight: calls under way when a lane has to end
// are finished and committed, or they would be made again.
func TestFatalFetchFinishesWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		gone := &kafka.Error{Code: kafka.CodeUnknownTopic, Op: "fetch"}
		r.src = &troubledLog{modelLog: r.log, fetchErr: func(offset int64) error {
			if offset > 0 {
				pass(500 * time.Millisecond) // the calls are under way by then
				return gone
			}
			return nil
		}}
		r.api.answer = func(ctx context.Context, _ *schemas.Request, _ int) (answer, error) {
			pass(time.Second)
			return okAnswer(), ctx.Err()
		}
		for i := range 10 {
			r.log.add(fmt.Sprint(i), createEvent(t, fmt.Sprint("r", i), "identity-1"), 0)
		}
		r.start()
		if err := <-r.stopped; kafka.CodeOf(err) != kafka.CodeUnknownTopic {
			t.Errorf("ended with %v", err)
		}
		if n, calls := len(r.log.results()), r.api.total(); calls == 0 || n != calls || r.lane.abandoned != 0 {
			t.Errorf("%d results of %d calls, %d abandoned", n, calls, r.lane.abandoned)
		}
		r.stop()
		r.stopProb()
	})
}

// TestFatalFetchIsSaidWithoutACommit: where a topic is gone its offsets cannot be
// committed either. Why the lane ends is told all the same.
func TestFatalFetchIsSaidWithoutACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.log.hold = make(chan struct{})
		r.src = &troubledLog{modelLog: r.log, fetchErr: func(offset int64) error {
			if offset > 0 {
				return &kafka.Error{Code: kafka.CodeUnknownTopic, Op: "fetch"}
			}
			return nil
		}}
		r.log.add("a", createEvent(t, "r", "identity-1"), 0)
		r.start()
		if err := <-r.stopped; kafka.CodeOf(err) != kafka.CodeUnknownTopic {
			t.Errorf("ended with %v", err)
		}
		r.stop()
		r.stopProb()
	})
}

// TestNoCallsWhileNothingCommits: outcomes that do not get committed are calls
// that may be made twice, so no more of them begin.
func TestNoCallsWhileNothingCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.log.hold = make(chan struct{})
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) {
			pass(100 * time.Millisecond)
			return okAnswer(), nil
		}
		r.log.add("first", fetchEvent(t, "first", "identity-1"), 0)
		r.start()
		pass(10 * time.Second) // the first commit hangs by now
		for i := range 500 {
			r.log.add(fmt.Sprint(i), fetchEvent(t, fmt.Sprint("r", i), "identity-1"), 0)
		}
		pass(time.Minute)
		synctest.Wait()
		if n := r.api.total(); n != 1 {
			t.Errorf("%d calls were made while the first commit hung", n)
		}
		close(r.log.hold)
		pass(time.Minute)
		synctest.Wait()
		r.mustEnd()
		if n := len(r.log.results()); n != 501 {
			t.Errorf("%d results of 501", n)
		}
	})
}

// TestElapsedBeginsWithTheFirstCall: waiting for a token is no failure.
func TestElapsedBeginsWithTheFirstCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.acct.limiter.Penalize(2 * time.Minute) // beyond retry.elapsed
		r.api.answer = func(_ context.Context, _ *schemas.Request, n int) (answer, error) {
			if n == 1 {
				return answer{}, apiErr(429, 20429)
			}
			return okAnswer(), nil
		}
		r.log.add("a", createEvent(t, "r", "identity-1"), 0)
		r.start()
		pass(4 * time.Minute)
		synctest.Wait()
		r.mustEnd()
		if res := r.log.results(); len(res) != 1 || res[0].Outcome != schemas.OutcomeSucceeded {
			t.Errorf("got %+v, want success: two minutes were spent waiting, not trying", res)
		}
	})
}

// TestCalledOnlyWhereSent: a result does not say that a call was made when
// none left.
func TestCalledOnlyWhereSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) { return answer{}, refusedConn() }
		r.api.probed = refusedConn
		r.log.add("a", createEvent(t, "r", "identity-1"), 0)
		r.start()
		pass(6 * time.Minute)
		synctest.Wait()
		r.mustEnd()
		res := r.log.results()
		if len(res) != 1 || res[0].Times.Called != nil || res[0].Attempts != 0 {
			t.Errorf("got %+v, want no call in it", res)
		}
	})
}

// TestDrainCountsWhatItGaveUp, reads too.
func TestDrainCountsWhatItGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.api.answer = func(ctx context.Context, _ *schemas.Request, _ int) (answer, error) {
			<-ctx.Done()
			return answer{}, &read.CallError{Code: read.CodeCanceled, Sent: true, Err: ctx.Err()}
		}
		r.log.add("a", fetchEvent(t, "r", "identity-1"), 0)
		r.start()
		pass(time.Second)
		if err := r.end(); err != nil || r.lane.abandoned != 1 {
			t.Errorf("ended with %v and %d abandoned, want 1", err, r.lane.abandoned)
		}
	})
}

func TestBackoffStaysWithinItsCap(t *testing.T) {
	for _, cfg := range []RetryConfig{
		{Base: 200 * time.Millisecond, Cap: 10 * time.Second},
		{Base: time.Hour, Cap: time.Hour},
		{Base: time.Hour, Cap: time.Second},
		{Base: 1, Cap: 1<<63 - 1},
	} {
		last := time.Duration(0)
		for n := 1; n < 200; n++ {
			got := backoff(cfg, n)
			if got <= 0 || got > cfg.Cap || got < last {
				t.Fatalf("%+v: the ceiling of retry %d is %v after %v", cfg, n, got, last)
			}
			last = got
		}
	}
}

// TestLargeKeysAndAnswersPoisonNothing: key, headers and answers of any size
// give records that fit, and every result has a last resort that is small.
func TestLargeKeysAndAnswersPoisonNothing(t *testing.T) {
	ev := events{group: "g", topics: TopicsConfig{Results: "results", DeadLetters: "deadletters"}, limit: defaultEventLimit}
	big := bytes.Repeat([]byte("k"), kafka.MaxMessageBytes-300)
	huge := json.RawMessage(`{"sid":"` + testSID + `","status":"pending","pad":"` + string(bytes.Repeat([]byte("x"), 2<<20)) + `"}`)
	req := schemas.Request{ID: "r", Operation: schemas.OperationCreate, ServiceSID: testService, Identity: "identity-1"}
	list := req
	list.Operation = schemas.OperationList
	for name, o := range map[string]outcome{
		"key":     {entry: &entry{rec: kafka.Record{Topic: "requests", Key: big}, req: &req}, outcome: schemas.OutcomeSucceeded, answer: okAnswer()},
		"headers": {entry: &entry{rec: kafka.Record{Topic: "requests", Headers: []schemas.Header{{Key: "h", Value: big}}}, req: &req}, outcome: schemas.OutcomeSucceeded, answer: okAnswer()},
		"answer":  {entry: &entry{rec: kafka.Record{Topic: "requests"}, req: &req}, outcome: schemas.OutcomeSucceeded, answer: answer{challenge: huge}},
		"list":    {entry: &entry{rec: kafka.Record{Topic: "requests"}, req: &list}, outcome: schemas.OutcomeSucceeded, answer: answer{challenges: []json.RawMessage{huge, huge}}},
	} {
		outputs, err := ev.records(o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, out := range outputs {
			if out.fallback == nil {
				t.Fatalf("%s: no fallback", name)
			}
			last, err := out.fallback()
			if err != nil || out.msg.Size() > kafka.MaxMessageBytes || last.Size() > 4096 {
				t.Errorf("%s: a record of %d bytes with a fallback of %d, %v", name, out.msg.Size(), last.Size(), err)
			}
			for _, msg := range []kafka.Message{out.msg, last} {
				if r, _, err := schemas.DecodeResult(msg.Value); err != nil || r.RequestID != "r" {
					t.Errorf("%s: %v", name, err)
				} else if r.Challenge != nil && !bytes.Contains(r.Challenge, []byte(testSID)) {
					t.Errorf("%s: the sid is lost: %.100s", name, r.Challenge)
				}
			}
		}
	}
}

// TestRecordsOfAListBelongTogether: so that a refused one can take the others with it.
func TestRecordsOfAListBelongTogether(t *testing.T) {
	ev := events{group: "g", topics: TopicsConfig{Results: "results", DeadLetters: "deadletters"}, limit: 4 << 10}
	req := schemas.Request{ID: "r", Operation: schemas.OperationList, ServiceSID: testService, Identity: "identity-1"}
	item := json.RawMessage(`{"sid":"` + testSID + `","status":"pending","pad":"` + strings.Repeat("x", 1500) + `"}`)
	for n, records := range map[int]int{0: 1, 1: 1, 5: 3} {
		o := outcome{entry: &entry{rec: kafka.Record{Topic: "requests"}, req: &req}, outcome: schemas.OutcomeSucceeded}
		o.answer.challenges = append([]json.RawMessage{}, slices.Repeat([]json.RawMessage{item}, n)...)
		outputs, err := ev.records(o)
		if err != nil || len(outputs) != records {
			t.Fatalf("%d items: %d records, %v", n, len(outputs), err)
		}
		for _, out := range outputs {
			if out.list != outputs[0].list || (out.list != nil) != (records > 1) {
				t.Errorf("%d items: %p and %p", n, out.list, outputs[0].list)
			}
		}
	}
}

// TestUnwrittenAloneIsRepeated: when one topic fails, what the others have
// taken is not published again.
func TestUnwrittenAloneIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := &kafka.UnwrittenError{Indexes: []int{1}, Err: &kafka.Error{Code: kafka.CodeUnavailable, Op: "test"}}
		sink := &scriptedSink{produce: []error{away, &kafka.UnwrittenError{Indexes: []int{0}, Err: away.Err}}}
		r := newRig(t)
		err := atLeastOnce{sink: sink, log: r.cfg.log}.commit(t.Context(), group{outputs: []output{
			{msg: kafka.Message{Value: []byte("a")}}, {msg: kafka.Message{Value: []byte("b")}}, {msg: kafka.Message{Value: []byte("c")}},
		}})
		if err != nil || fmt.Sprint(sink.written) != "[a c b]" {
			t.Errorf("written %q, %v", sink.written, err)
		}
	})
}

// TestGroupsFitIntoTheirTime: bad records are published whole, so a group is
// bounded by their size, or a backlog of them would never get committed.
func TestGroupsFitIntoTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.maxBatch = maxBatch
		const size = 500 << 10
		for range 100 {
			r.log.add("", make([]byte, size), 0)
		}
		r.log.hold = make(chan struct{})
		r.start()
		pass(3 * time.Second)
		close(r.log.hold) // by now all of them wait for it
		pass(10 * time.Second)
		r.mustEnd()
		if n := len(r.log.published); n != 100 {
			t.Errorf("%d dead letters of 100", n)
		}
		if most := r.log.largest; most > maxBatchBytes+2*size {
			t.Errorf("a group of %d KiB, want about %d", most>>10, maxBatchBytes>>10)
		}
	})
}
