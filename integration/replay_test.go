package integration

import (
	"context"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/connector/replay"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

// TestReplay: what a connector has just recorded is the same in its own eyes, and
// its results are in another topic once each, as they were, though the replay was
// interrupted.
func TestReplay(t *testing.T) {
	t.Parallel()
	const n = 60
	w := newWorld(t, emulator.Config{})
	m := w.run(w.config())
	w.await("the lanes to work", func() bool { return len(m.Status().Lanes) == partitions })
	for i := range n {
		w.send(w.create(i))
	}
	w.sendRaw(kafka.Message{Topic: w.topics.Requests, Key: []byte("k"), Value: []byte("not json")})
	w.awaitAll()
	must(t, m.leave())
	checked, err := replay.Check(t.Context(), w.kafka, replay.CheckConfig{
		Requests: w.topics.Requests, Results: w.topics.Results, DeadLetters: w.topics.DeadLetters, Group: w.group,
	})
	must(t, err)
	if checked.Requests != n+1 || checked.Same != n+1 {
		t.Errorf("compared: %+v", checked)
	}
	target := w.group + ".rebuilt"
	t.Cleanup(func() { w.discard(t, target) })
	cfg := replay.Config{
		Source: w.topics.Results, Target: target, Live: []string{w.topics.Requests}, Group: w.group + "-replay", Rate: 20,
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	cfg.Progress = func(p replay.Progress) {
		if p.Done > n/3 {
			interrupt()
		}
	}
	first, err := replay.Into(ctx, w.kafka, cfg)
	if replay.CodeOf(err) != replay.CodeInterrupted || first.Left() == 0 {
		t.Fatalf("the first run: %+v %v", first, err)
	}
	cfg.Rate, cfg.Progress = 0, nil
	second, err := replay.Into(t.Context(), w.kafka, cfg)
	must(t, err)
	if second.Run != first.Run || !second.Resumed {
		t.Errorf("the second run: %+v", second)
	}
	wantReplayed(t, w.everything(w.topics.Results), w.everything(target))
}

// everything reads a topic, and with it what the brokers have yet to show: they
// write a transaction's markers after they have said that it is committed.
func (w *world) everything(topic string) (all []kafka.Record) {
	w.t.Helper()
	for p := range partitions {
		must(w.t, w.kafka.AwaitStable(w.t.Context(), topic, p))
	}
	ranges, err := w.kafka.Ranges(w.t.Context(), topic)
	must(w.t, err)
	for p, r := range ranges {
		for rec, err := range w.kafka.Scan(w.t.Context(), topic, p, r.Start, r.End) {
			must(w.t, err)
			all = append(all, rec)
		}
	}
	return all
}

func wantReplayed(t *testing.T, sources, copies []kafka.Record) {
	t.Helper()
	ids := map[string]time.Time{}
	for _, rec := range sources {
		r, _, err := schemas.DecodeResult(rec.Value)
		must(t, err)
		ids[r.ID] = rec.Timestamp
	}
	if len(copies) != len(sources) || len(ids) != len(sources) {
		t.Errorf("%d records of %d", len(copies), len(sources))
	}
	for _, rec := range copies {
		r, _, err := schemas.DecodeResult(rec.Value)
		must(t, err)
		if at, there := ids[r.ID]; !there || !at.Equal(rec.Timestamp) {
			t.Errorf("%s is there once more, or from another time: %s", r.ID, rec.Timestamp)
		}
		delete(ids, r.ID)
	}
}
