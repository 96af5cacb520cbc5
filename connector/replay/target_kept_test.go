package replay

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/connector/kafka"
)

// A target that was deleted since a run was stopped, or is done, does not get the
// rest alone, also where somebody has made it anew.
func TestIntoSaysThatTheTargetIsGone(t *testing.T) {
	for _, anew := range []bool{false, true} {
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprintf("made anew %t, done %t", anew, done), func(t *testing.T) {
				inBubble(t, func(t *testing.T, w *world) {
					w.fill(60)
					cfg := config()
					if done {
						if _, err := w.into(t.Context(), cfg); err != nil {
							t.Fatal(err)
						}
					} else {
						w.begun(cfg)
					}
					w.discard(target)
					says := "rebuilt does not exist, and this replay has written to it: it was deleted"
					if anew {
						w.makeTarget()
						says = "rebuilt ends behind 0 offsets, and this replay has taken "
					}
					for _, do := range []func() (Report, error){
						func() (Report, error) { return Plan(t.Context(), w.client, cfg) },
						func() (Report, error) { return w.into(t.Context(), cfg) },
					} {
						_, err := do()
						wantCode(t, err, CodeState, says, "begin anew")
					}
					if n := len(w.all(target)); n != 0 {
						t.Errorf("it wrote %d", n)
					}
					cfg.Restart = true
					if r, err := w.into(t.Context(), cfg); err != nil || r.Written != 60 {
						t.Errorf("anew: %+v %v", r, err)
					}
					w.wantCopies(w.all(results))
				})
			})
		}
	}
}

// A run that was resumed is held to what all of its runs have written, whatever was
// left out or written by others.
func TestIntoGoesOnWhereTheTargetIsWhole(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fill(150)
		for range 2 {
			w.begun(config())
		}
		cfg := config()
		// A broker that has not heard of the last transaction's end says that the log is
		// shorter.
		until := time.Now().Add(20 * time.Second)
		w.cluster.ControlKey(int16(kmsg.ListOffsets), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			req := kreq.(*kmsg.ListOffsetsRequest)
			if req.Topics[0].Topic != target || !time.Now().Before(until) {
				return nil, nil, false
			}
			res := req.ResponseKind().(*kmsg.ListOffsetsResponse)
			topic := kmsg.NewListOffsetsResponseTopic()
			topic.Topic = target
			for _, asked := range req.Topics[0].Partitions {
				p := kmsg.NewListOffsetsResponseTopicPartition()
				p.Partition, p.Timestamp, p.Offset = asked.Partition, asked.Timestamp, 0
				topic.Partitions = append(topic.Partitions, p)
			}
			res.Topics = append(res.Topics, topic)
			return res, nil, true
		})
		said := 0
		cfg.Progress = func(p Progress) {
			if p.Waiting != nil && p.Total == 150 && p.Done > 0 {
				said++
			}
		}
		if r, err := w.into(t.Context(), cfg); err != nil || !r.Resumed || r.Left() != 0 {
			t.Errorf("%+v %v", r, err)
		}
		if said < 15 {
			t.Errorf("it said %d times what it waited for", said)
		}
		if taken, ends := w.wantTaken(150); taken != ends {
			t.Errorf("%d offsets taken of %d", taken, ends)
		}
		w.wantCopies(w.all(results))
	})
}

// Somebody else's transaction in the target stays open, and a broker does not know
// of the target for a moment: nothing of what was written is gone.
func TestIntoGoesOnWhereTheTargetOnlySeemsGone(t *testing.T) {
	for name, seems := range map[string]func(w *world){
		"a transaction is open": func(w *world) {
			other, err := kgo.NewClient(kgo.SeedBrokers(w.addrs...), kgo.Dialer(w.net.DialContext), kgo.TransactionalID("other"),
				kgo.TransactionTimeout(10*time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err != nil {
				w.t.Fatal(err)
			}
			w.t.Cleanup(other.Close)
			if err := other.BeginTransaction(); err != nil {
				w.t.Fatal(err)
			}
			for p := range parts {
				if err := other.ProduceSync(w.t.Context(), &kgo.Record{Topic: target, Partition: int32(p), Value: []byte("open")}).FirstErr(); err != nil {
					w.t.Fatal(err)
				}
			}
		},
		"a broker does not know it": func(w *world) {
			until := time.Now().Add(20 * time.Second)
			w.cluster.ControlKey(int16(kmsg.Metadata), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
				w.cluster.KeepControl()
				req := kreq.(*kmsg.MetadataRequest)
				if len(req.Topics) != 1 || req.Topics[0].Topic == nil || *req.Topics[0].Topic != target || !time.Now().Before(until) {
					return nil, nil, false
				}
				res := req.ResponseKind().(*kmsg.MetadataResponse)
				unknown := kmsg.NewMetadataResponseTopic()
				unknown.Topic, unknown.ErrorCode = req.Topics[0].Topic, kerr.UnknownTopicOrPartition.Code
				res.Topics = append(res.Topics, unknown)
				return res, nil, true
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.fill(60)
				first := w.begun(config())
				seems(w)
				r, err := w.into(t.Context(), config())
				if err != nil || !r.Resumed || r.Makes || r.Run != first.Run || r.Left() != 0 {
					t.Errorf("%+v %v", r, err)
				}
				w.wantTaken(60)
			})
		})
	}
}

// A commit whose answer is lost together with the group counts once.
func TestIntoCountsACommitItDidNotHearOf(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fill(60)
		link := &outage{dial: w.net.DialContext}
		client := w.newClient(link.DialContext)
		ends := 0
		w.cluster.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			if ends++; ends == 8 {
				link.set(true)
				time.AfterFunc(3*sessionTimeout, func() { link.set(false) })
			}
			return nil, nil, false
		})
		cfg := config()
		cfg.Rate = 20
		r, err := Into(t.Context(), client, cfg)
		if err != nil || r.Left() != 0 {
			t.Errorf("%+v %v", r, err)
		}
		w.wantCopies(w.all(results))
		if taken, ends := w.wantTaken(60); taken != ends {
			t.Errorf("%d offsets taken of %d", taken, ends)
		}
	})
}

// wantTaken holds what the progress says of the target to the records there.
func (w *world) wantTaken(records int64) (taken, ends int64) {
	w.t.Helper()
	committed, err := w.client.Committed(w.t.Context(), config().Group, results)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, at := range committed {
		s, _ := readState(at.Metadata)
		taken += s.Taken
	}
	for p := range parts {
		end, err := w.client.HighWatermark(w.t.Context(), target, p)
		if err != nil {
			w.t.Fatal(err)
		}
		ends += end
	}
	if taken <= records || taken > ends {
		w.t.Errorf("%d offsets taken, for %d records in %d offsets", taken, records, ends)
	}
	return taken, ends
}

func (w *world) makeTarget() {
	w.t.Helper()
	if err := w.client.EnsureTopics(w.t.Context(), []kafka.TopicSpec{{Name: target, Partitions: parts, Configs: made()}}); err != nil {
		w.t.Fatal(err)
	}
}
