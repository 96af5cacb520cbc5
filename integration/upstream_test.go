package integration

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

func (w *world) franz(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(w.addrs...)}, opts...)...)
	must(w.t, err)
	w.t.Cleanup(client.Close)
	return client
}

// TestAbortedUpstreamTransactionCausesNoCall: requests of an upstream
// producer's transaction cause no call while it is open and none after it was
// aborted; those of a committed one are called once each.
func TestAbortedUpstreamTransactionCausesNoCall(t *testing.T) {
	w := newWorld(t, emulator.Config{})
	m := w.run(w.config())
	manual := []kgo.Opt{kgo.DefaultProduceTopic(w.topics.Requests), kgo.RecordPartitioner(kgo.ManualPartitioner())}
	plain := w.franz(manual...)
	upstream := w.franz(append(manual, kgo.TransactionalID(w.group+"-upstream"))...)
	produce := func(by *kgo.Client, from, n, partition int) {
		t.Helper()
		for i := range n {
			r := encoded(w.create(from + i))
			r.Partition = int32(partition)
			must(t, by.ProduceSync(t.Context(), r).FirstErr())
		}
	}
	must(t, upstream.BeginTransaction())
	produce(upstream, 0, 40, 0)
	// What stands behind the open transaction waits for its end; what stands in
	// another partition doesn't.
	produce(plain, 1000, 20, 0)
	produce(plain, 2000, 20, 1)
	w.sent += 40
	w.await("the other partition's answers", func() bool { return w.api.Stats().Creates >= 20 })
	if st := w.api.Stats(); st.Calls[emulator.OperationCreate] != 20 {
		t.Errorf("%d calls while the transaction is open, want the other partition's 20", st.Calls[emulator.OperationCreate])
	}
	must(t, upstream.EndTransaction(t.Context(), kgo.TryAbort))
	must(t, upstream.BeginTransaction())
	produce(upstream, 3000, 30, 0)
	must(t, upstream.EndTransaction(t.Context(), kgo.TryCommit))
	w.sent += 30
	got := w.awaitAll()
	must(t, m.leave())
	w.auditsClean(t)
	if got.outcomes[schemas.OutcomeSucceeded] != 70 || len(got.doubled) > 0 {
		t.Errorf("outcomes %v, doubled %v, want 70 succeeded", got.outcomes, got.doubled)
	}
	if st := w.api.Stats(); st.Creates != 70 || st.Calls[emulator.OperationCreate] != 70 {
		t.Errorf("%d challenges made in %d calls for 70 committed requests", st.Creates, st.Calls[emulator.OperationCreate])
	}
}

// TestADeadInstanceHoldsUpReadersBriefly: an instance that dies in the middle
// of a transaction keeps the results behind it from read_committed readers
// until the broker gives that transaction up. With the lanes' transaction
// timeout that is well below fifteen seconds.
func TestADeadInstanceHoldsUpReadersBriefly(t *testing.T) {
	const bound = 15 * time.Second
	w := newWorld(t, emulator.Config{})
	cfg := w.config()
	m := w.run(cfg)
	w.await("the lanes to work", func() bool { return len(m.Status().Lanes) == partitions })
	// The other instance's lane writes to every partition of the results and is
	// never heard of again. No successor fences it: its partition is nobody's here.
	other := w.franz(kgo.TransactionalID("dead-instance"), kgo.TransactionTimeout(cfg.WithDefaults().Kafka.TransactionTimeout),
		kgo.DefaultProduceTopic(w.topics.Results), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	must(t, other.BeginTransaction())
	for p := range partitions {
		must(t, other.ProduceSync(t.Context(), &kgo.Record{Partition: int32(p), Value: []byte("half of a batch")}).FirstErr())
	}
	began := time.Now()
	const n = 60
	for i := range n {
		w.send(w.create(i))
	}
	reader := w.franz(kgo.ConsumeTopics(w.topics.Results), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seen := 0
	for seen < n && ctx.Err() == nil {
		seen += reader.PollFetches(ctx).NumRecords()
	}
	held := time.Since(began)
	must(t, m.leave())
	if seen != n || held > bound {
		t.Errorf("a reader saw %d of %d results after %v, want all within %v", seen, n, held, bound)
	}
	t.Logf("readers were held up for %v", held.Round(100*time.Millisecond))
	if made := w.api.Stats().Creates; made != n {
		t.Errorf("%d challenges made for %d requests", made, n)
	}
}
