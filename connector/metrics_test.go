package connector

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// counted fails for each line that is not among the metrics.
func (r *rig) counted(lines ...string) {
	r.t.Helper()
	var text strings.Builder
	if err := r.cfg.stats.write(&text); err != nil {
		r.t.Fatal(err)
	}
	for _, line := range lines {
		if !strings.Contains(text.String(), "countersign_"+line+"\n") {
			r.t.Errorf("no %s in\n%s", line, text.String())
		}
	}
}

// Every way in which a record can end is counted once, and so is each step to it.
func TestMetricsCountWhatHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		value := createEvent(t, "adopted", "identity-1")
		r.api.answer = func(_ context.Context, req *schemas.Request, n int) (answer, error) {
			switch {
			case req.ID == "throttled" && n == 1:
				return answer{}, apiErr(429, 20429)
			case req.ID == "adopted":
				return answer{}, errLostAnswer
			case req.ID == "rejected":
				return answer{}, apiErr(400, 60306)
			case req.Operation == schemas.OperationFetch && n == 1:
				return answer{}, apiErr(500, 20500)
			}
			return okAnswer(), nil
		}
		r.api.seen = func(context.Context, query) (sighting, error) {
			return sighting{complete: true, challenges: []read.Challenge{madeFor(t, value, nil)}}, nil
		}
		for i, event := range [][]byte{
			createEvent(t, "throttled", "identity-1"), value, createEvent(t, "rejected", "identity-1"), fetchEvent(t, "fetched", "identity-1"),
			createEvent(t, "throttled", "identity-1"), []byte("no JSON"), []byte(`{"version":"1.0"}`),
		} {
			r.log.add(fmt.Sprint("key", i%2), event, 0)
		}
		r.start()
		pass(time.Minute)
		r.mustEnd()
		r.counted(
			`requests_total 7`,
			`results_total{outcome="succeeded"} 2`, `results_total{outcome="adopted"} 1`, `results_total{outcome="rejected"} 1`,
			`results_total{outcome="duplicate"} 1`, `results_total{outcome="expired"} 0`, `results_total{outcome="failed"} 0`,
			`dead_letters_total{class="not_json"} 1`, `dead_letters_total{class="no_id"} 1`, `dead_letters_total{class="ambiguous"} 0`,
			`calls_total{account="main",class="throttled",operation="create"} 1`, `calls_total{account="main",class="ok",operation="create"} 1`,
			`calls_total{account="main",class="ambiguous",operation="create"} 1`, `calls_total{account="main",class="ok",operation="look"} 1`,
			`calls_total{account="main",class="rejected",operation="create"} 1`, `calls_total{account="main",class="unavailable",operation="fetch"} 1`,
			`calls_total{account="main",class="ok",operation="fetch"} 1`, `calls_total{account="main",class="ok",operation="probe"} 0`,
			`retries_total{reason="throttled"} 1`, `retries_total{reason="unavailable"} 1`, `retries_total{reason="look"} 0`,
			`looks_total 1`, `calls_in_flight 0`, `call_duration_seconds_count{operation="create"} 4`,
			`request_duration_seconds_count{outcome="succeeded"} 2`, `request_duration_seconds_count{outcome="none"} 2`,
			`commit_records_sum 7`, `transactions_total{end="committed"} 0`,
		)
	})
}

// fakeKafka fails as it is told to.
type fakeKafka struct {
	source
	err error
}

func (f fakeKafka) Fence(context.Context) error { return nil }

func (f fakeKafka) Transact(context.Context, []kafka.Message, kafka.Position) error { return f.err }

func (f fakeKafka) Produce(context.Context, []kafka.Message) error { return f.err }

func (f fakeKafka) Commit(context.Context, kafka.Position) error { return f.err }

func (f fakeKafka) Fetch(context.Context, int64, int, time.Duration) (kafka.Fetched, error) {
	return kafka.Fetched{}, f.err
}

func TestMetricsCountTransactionsByTheirEnd(t *testing.T) {
	coded := func(c kafka.ErrorCode) error {
		return fmt.Errorf("wrapped: %w", &kafka.Error{Code: c, Op: "transact", Err: errors.New("cause")})
	}
	for _, tc := range []struct {
		err   error
		end   transactionEnd
		fault kafka.ErrorCode // "": counted as none
	}{
		{nil, transactionCommitted, ""},
		{&kafka.PoisonError{Indexes: []int{0}, Err: errors.New("too large")}, transactionAborted, ""},
		{coded(kafka.CodeUnavailable), transactionAborted, kafka.CodeUnavailable},
		{coded(kafka.CodeDenied), transactionAborted, kafka.CodeDenied},
		{coded(kafka.CodeFenced), transactionFenced, kafka.CodeFenced},
		{coded(kafka.CodeOwnershipLost), transactionLost, kafka.CodeOwnershipLost},
		{coded(kafka.CodeCanceled), transactionUnknown, ""},
	} {
		t.Run(fmt.Sprint(tc.end, tc.fault), func(t *testing.T) {
			r := newRig(t)
			st := r.cfg.stats
			transact := countedTransactor{fakeKafka{err: tc.err}, st}
			out, read := countedSink{fakeKafka{err: tc.err}, st}, countedSource{fakeKafka{err: tc.err}, st}
			if err := transact.Transact(t.Context(), nil, kafka.Position{}); !errors.Is(err, tc.err) {
				t.Errorf("the error is %v", err)
			}
			for range 2 {
				_ = out.Produce(t.Context(), nil)
				_, _ = read.Fetch(t.Context(), 0, 0, 0)
			}
			_ = out.Commit(t.Context(), kafka.Position{})
			r.counted(fmt.Sprintf(`transactions_total{end="%s"} 1`, tc.end))
			if tc.fault != "" {
				r.counted(fmt.Sprintf(`kafka_errors_total{code="%s",operation="commit"} 4`, tc.fault),
					fmt.Sprintf(`kafka_errors_total{code="%s",operation="fetch"} 2`, tc.fault))
			}
		})
	}
}
