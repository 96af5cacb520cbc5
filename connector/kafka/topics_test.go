package kafka

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestEnsureTopicsCreatesWhatIsMissing(t *testing.T) {
	inBubble(t, map[string]int32{"old": 2}, func(t *testing.T, w *world) {
		c := w.client()
		specs := []TopicSpec{
			{Name: "new", Partitions: 5, Replication: 1, Configs: map[string]string{"cleanup.policy": "compact", "retention.ms": "1000"}},
			{Name: "old", Partitions: 7, Configs: map[string]string{"cleanup.policy": "compact"}},
			{Name: "defaults"},
		}
		for range 2 {
			if err := c.EnsureTopics(t.Context(), specs); err != nil {
				t.Fatal(err)
			}
			for topic, want := range map[string]int{"new": 5, "old": 2, "defaults": 10} {
				if got, err := c.Partitions(t.Context(), topic); err != nil || got != want {
					t.Errorf("%s has %d partitions, %v, want %d", topic, got, err, want)
				}
			}
		}
		if got := w.cluster.TopicInfo("new").Configs; *got["cleanup.policy"] != "compact" || *got["retention.ms"] != "1000" {
			t.Errorf("settings %v", got)
		}
		if got := w.cluster.TopicInfo("old").Configs; got["cleanup.policy"] != nil {
			t.Errorf("the existing topic has been changed: %v", got)
		}
		// What has been created can be used at once.
		if err := c.Produce(t.Context(), []Message{{Topic: "new", Value: []byte("v")}}); err != nil {
			t.Error(err)
		}
		if err := c.EnsureTopics(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}

func TestEnsureTopicsErrors(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		c := w.client()
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "b", Err: kerr.NotController, Count: 2})
		if err := c.EnsureTopics(t.Context(), []TopicSpec{{Name: "a"}, {Name: "b"}}); err != nil || fault.Hits() != 2 {
			t.Errorf("%v after %d faults", err, fault.Hits())
		}
		for e, want := range map[*kerr.Error]ErrorCode{
			kerr.TopicAuthorizationFailed: CodeDenied,
			kerr.InvalidReplicationFactor: CodeInvalid,
			kerr.PolicyViolation:          CodeInvalid,
		} {
			fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "c", Err: e, Count: -1})
			err := c.EnsureTopics(t.Context(), []TopicSpec{{Name: "a"}, {Name: "c"}})
			wantCode(t, err, want)
			if !strings.Contains(err.Error(), "create topic c") {
				t.Errorf("%v does not name the topic", err)
			}
			fault.Remove()
		}
	})
}

func TestPartitionsIsNotFromACache(t *testing.T) {
	inBubble(t, map[string]int32{"t": 2}, func(t *testing.T, w *world) {
		c := w.client()
		if n, err := c.Partitions(t.Context(), "t"); err != nil || n != 2 {
			t.Fatal(n, err)
		}
		w.addPartitions("t", 9)
		if n, err := c.Partitions(t.Context(), "t"); err != nil || n != 9 {
			t.Error(n, err)
		}
		if err := w.cluster.DeleteTopic("t"); err != nil {
			t.Fatal(err)
		}
		_, err := c.Partitions(t.Context(), "t")
		wantCode(t, err, CodeUnknownTopic)
	})
}

func TestPartitionsOfUnknownTopicDoesNotCreateIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startCluster(t, kfake.AllowAutoTopicCreation())
		start := time.Now()
		_, err := w.client().Partitions(t.Context(), "none")
		wantCode(t, err, CodeUnknownTopic)
		if w.cluster.TopicInfo("none") != nil || time.Since(start) != 0 {
			t.Errorf("%+v after %s", w.cluster.TopicInfo("none"), time.Since(start))
		}
		_, err = w.client().Ranges(t.Context(), "none")
		wantCode(t, err, CodeUnknownTopic)
	})
}

func TestRangesEndAtTheLastStableOffset(t *testing.T) {
	inBubble(t, map[string]int32{"t": 4}, func(t *testing.T, w *world) {
		plain, p := w.plainProducer(), w.txnProducer("p")
		put(t, plain, "t", 0, "a", "b", "c")
		if err := w.cluster.DeleteRecords("t", 0, 1); err != nil {
			t.Fatal(err)
		}
		put(t, plain, "t", 2, "a")
		begin(t, p)
		put(t, p, "t", 2, "open")
		put(t, plain, "t", 2, "behind")
		put(t, p, "t", 3, "open")
		want := []Range{{1, 3}, {0, 0}, {0, 1}, {0, 0}}
		c := w.client()
		if got, err := c.Ranges(t.Context(), "t"); err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
		end(t, p, kgo.TryCommit)
		want[2], want[3] = Range{0, 4}, Range{0, 2}
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "t", Partitions: []int32{2}, Err: kerr.LeaderNotAvailable, Count: 3})
		if got, err := c.Ranges(t.Context(), "t"); err != nil || !slices.Equal(got, want) || fault.Hits() != 3 {
			t.Errorf("got %v, %v, want %v, after %d faults", got, err, want, fault.Hits())
		}
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "t", Partitions: []int32{1}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		got, err := c.Ranges(t.Context(), "t")
		wantCode(t, err, CodeDenied)
		if got != nil {
			t.Errorf("%v beside an error", got)
		}
	})
}

func TestMovedLeaderIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startCluster(t, kfake.SeedTopics(1, "t"))
		c := w.client()
		for i := range 6 {
			if err := w.cluster.MoveTopicPartition("t", 0, int32(i%3)); err != nil {
				t.Fatal(err)
			}
			if err := c.Produce(t.Context(), []Message{{Topic: "t", Value: []byte{byte(i)}}}); err != nil {
				t.Fatal(err)
			}
			if err := w.cluster.MoveTopicPartition("t", 0, int32((i+1)%3)); err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, err := range c.Scan(t.Context(), "t", 0, 0, int64(i)+1) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if n != i+1 {
				t.Errorf("%d records, want %d", n, i+1)
			}
		}
	})
}
