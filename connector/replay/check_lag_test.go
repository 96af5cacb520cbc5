package replay

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// lag makes the leader of a topic's partition 1 end its log at an offset for readers
// of it, for so long.
func (w *world) lag(topic string, end int64, lasts time.Duration) {
	until := time.Now().Add(lasts)
	w.cluster.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		req := kreq.(*kmsg.FetchRequest)
		asked := req.Topics[0].Partitions[0]
		if req.Topics[0].Topic != topic || asked.Partition != 1 || asked.FetchOffset < end || !time.Now().Before(until) {
			return nil, nil, false
		}
		p := kmsg.NewFetchResponseTopicPartition()
		p.Partition, p.HighWatermark, p.LastStableOffset, p.RecordBatches = asked.Partition, end, end, []byte{}
		t := kmsg.NewFetchResponseTopic()
		t.Topic, t.Partitions = topic, append(t.Partitions, p)
		res := req.ResponseKind().(*kmsg.FetchResponse)
		res.Topics = append(res.Topics, t)
		return res, nil, true
	})
}

// asked writes requests to all partitions, each with its answer.
func (s *story) asked(n int) {
	for i := range n {
		s.answer(s.request(i%parts, event(s.w.t, schemas.Request{Operation: schemas.OperationFetch})), told("fetch", "succeeded", nil), time.Second)
	}
}

// A new leader ends the log earlier for a while: that is waited for, and said, and
// nothing counts as not answered or is left out.
func TestCheckWaitsForALogThatLags(t *testing.T) {
	for _, topic := range []string{requests, results} {
		t.Run(topic, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.story().asked(6)
				const lasts = 40 * time.Second
				began := time.Now()
				w.lag(topic, 0, lasts)
				cfg := checkConfig()
				said := map[string]int{}
				var last Progress
				cfg.Progress = func(p Progress) {
					if last = p; p.Waiting != nil {
						said[p.Waiting.Error()]++
					}
				}
				r := w.check(cfg)
				if took := time.Since(began); took < lasts || took > lasts+10*time.Second {
					t.Errorf("it took %s", took)
				}
				if r.Same != 6 || last.Waiting != nil || last.Done != last.Total || len(said) != 1 || said[topic+"/1 ends at offset 0 for now"] < 20 {
					t.Errorf("%+v, said %v, at last %+v", r, said, last)
				}
			})
		})
	}
}

// What does not come back is an error, and Ctrl-C ends the waiting.
func TestCheckFailsOnALogThatStaysShort(t *testing.T) {
	for _, topic := range []string{requests, results, letters} {
		for _, stopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stopped %v", topic, stopped), func(t *testing.T) {
				inBubble(t, func(t *testing.T, w *world) {
					s := w.story()
					s.asked(6)
					cfg := checkConfig()
					if topic == letters {
						// The letters are read from a topic with a partition 1.
						cfg.DeadLetters = "more"
						if err := w.client.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: cfg.DeadLetters, Partitions: 2}}); err != nil {
							t.Fatal(err)
						}
						p := 1
						s.produce(kafka.Message{Topic: cfg.DeadLetters, Partition: &p, Value: []byte("x"), Timestamp: s.seen})
						w.lag(cfg.DeadLetters, 0, 24*time.Hour)
					} else {
						w.lag(topic, 0, 24*time.Hour)
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if stopped {
						time.AfterFunc(10*time.Second, cancel)
					}
					began := time.Now()
					r, err := Check(ctx, w.client, cfg)
					if stopped {
						wantCode(t, err, CodeInterrupted)
						return
					}
					wantCode(t, err, CodeKafka, "/1", "now it ends at 0", "has a new leader lost the rest?")
					if took := time.Since(began); took < lagging || took > 2*lagging {
						t.Errorf("it took %s", took)
					}
					if r.Unanswered != 0 || strings.Contains(err.Error(), person) {
						t.Errorf("%+v, %v", r, err)
					}
				})
			})
		}
	}
}
