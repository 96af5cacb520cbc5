package interop

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/countersign/countersign/schemas"
)

var sentHeaders = []string{
	schemas.HeaderTraceparent + "=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tenant=first", "tenant=second",
}

// TestRequestsAndResults: what each tool sends is answered once, in results
// that both tools read, with the request's key, headers and coordinates.
func TestRequestsAndResults(t *testing.T) {
	const n = 20
	w := newWorld(t)
	stop := w.run()
	byKcat, ids := w.lines(n)
	kcatSend(t, w.topics.Requests, sentHeaders, byKcat)
	inTransaction, more := w.lines(n)
	kcatSend(t, w.topics.Requests, sentHeaders, inTransaction, "-X", "transactional.id="+w.group+"-kcat", "-z", "lz4")
	ids = append(ids, more...)
	byConsole, more := w.lines(n)
	consoleSend(t, w.topics.Requests, sentHeaders, byConsole)
	ids = append(ids, more...)
	w.answered(3 * n)
	stop()

	requests := map[string]record{}
	for _, r := range kcatRead(t, w.topics.Requests, "read_committed") {
		req, _, err := schemas.DecodeRequest([]byte(r.value))
		must(t, err)
		requests[req.ID] = r
	}
	for name, read := range map[string]func(*testing.T, string, string) []record{"kcat": kcatRead, "the console consumer": consoleRead} {
		var seen []string
		for _, r := range read(t, w.topics.Results, "read_committed") {
			res := r.result(t)
			seen = append(seen, res.RequestID)
			asked := requests[res.RequestID]
			if got := (record{partition: res.Request.Partition, offset: res.Request.Offset}).coordinates(); got != asked.coordinates() || res.Request.Topic != w.topics.Requests {
				t.Errorf("%s: %s answers %s, its record stands at %s", name, res.RequestID, got, asked.coordinates())
			}
			if res.Outcome != schemas.OutcomeSucceeded || r.key != asked.key || !slices.Equal(r.headers, sentHeaders) {
				t.Errorf("%s: %s is %s with key %q and headers %q", name, res.RequestID, res.Outcome, r.key, r.headers)
			}
		}
		slices.Sort(seen)
		if !slices.Equal(seen, ids) {
			t.Errorf("%s has results of %v, want each once: %v", name, seen, ids)
		}
	}
	if made := w.api.Stats().Creates; made != 3*n {
		t.Errorf("%d challenges for %d requests", made, 3*n)
	}
}

// TestAbortedTransactions: requests of an aborted transaction cause no call,
// results of one are seen by no read_committed reader, and both are there for
// a read_uncommitted one.
func TestAbortedTransactions(t *testing.T) {
	const n = 10
	w := newWorld(t)
	stop := w.run()
	producer := w.franz(kgo.TransactionalID(w.group + "-aborted"))
	aborted, _ := w.lines(n)
	must(t, producer.BeginTransaction())
	for _, line := range aborted {
		must(t, producer.ProduceSync(t.Context(), &kgo.Record{Topic: w.topics.Requests, Value: []byte(line[len("identity-0000:"):])}).FirstErr())
		must(t, producer.ProduceSync(t.Context(), &kgo.Record{Topic: w.topics.Results, Value: []byte("half of a batch")}).FirstErr())
	}
	must(t, producer.EndTransaction(t.Context(), kgo.TryAbort))
	lines, ids := w.lines(n)
	kcatSend(t, w.topics.Requests, nil, lines)
	w.answered(n)
	stop()

	for name, read := range map[string]func(*testing.T, string, string) []record{"kcat": kcatRead, "the console consumer": consoleRead} {
		var seen []string
		for _, r := range read(t, w.topics.Results, "read_committed") {
			seen = append(seen, r.result(t).RequestID)
		}
		slices.Sort(seen)
		if !slices.Equal(seen, ids) {
			t.Errorf("%s has results of %v, want those of what was committed: %v", name, seen, ids)
		}
		if all := len(read(t, w.topics.Results, "read_uncommitted")); all != 2*n {
			t.Errorf("%s sees %d results when it reads uncommitted ones, want %d", name, all, 2*n)
		}
	}
	if made := w.api.Stats().Creates; made != n {
		t.Errorf("%d challenges for %d committed requests", made, n)
	}
}

// TestGroupTool: kafka-consumer-groups shows where the group is and how far
// behind, while it works and after it has left.
func TestGroupTool(t *testing.T) {
	const n, behind = 30, 7
	w := newWorld(t)
	stop := w.run()
	lines, _ := w.lines(n)
	kcatSend(t, w.topics.Requests, nil, lines)
	w.answered(n)
	w.await("the group to have committed everything", func() bool { return w.lag(n) == 0 })
	stop()
	more, _ := w.lines(behind)
	kcatSend(t, w.topics.Requests, nil, more, "-p", "0")
	if lag := w.lag(n + behind); lag != behind {
		t.Errorf("the group that has left is %d behind, want %d", lag, behind)
	}
	stop = w.run()
	w.answered(n + behind)
	w.await("the group to have caught up", func() bool { return w.lag(n+behind) == 0 })
	stop()
}

// lag is the group's over all partitions, which hold so many records.
func (w *world) lag(records int64) (lag int64) {
	w.t.Helper()
	end := int64(0)
	all := describe(w.t, w.group, w.topics.Requests)
	for p, g := range all {
		if g.committed < 0 {
			return -1 // nothing of the partition is committed yet
		}
		if g.end-g.committed != g.lag {
			w.t.Errorf("partition %d: %+v", p, g)
		}
		end, lag = end+g.end, lag+g.lag
	}
	if len(all) != partitions || end != records {
		w.t.Errorf("the tool shows %d partitions with %d records, want %d with %d", len(all), end, partitions, records)
	}
	return lag
}
