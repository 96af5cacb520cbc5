package kafka

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// poisonous is the size of a batch that is refused for good.
const poisonous = "1000"

// ledgerModel is what Transact has said of a partition.
type ledgerModel struct {
	values []string // of all that is committed
	pos    Position
}

// TestTransactTellsTheTruth loses, delays and refuses requests at random, lets
// sessions take over at random, and compares what a reader finds with what
// every call has said.
func TestTransactTellsTheTruth(t *testing.T) {
	inLane(t, func(t *testing.T, w *world, owner *Session) {
		round := 0
		// Embedded, because rapid asks a *testing.T for its deadline, and a
		// bubble has none.
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
			round++
			topic, out := fmt.Sprint("t", round), fmt.Sprint("out", round)
			for _, name := range []string{topic, out} {
				if err := w.cluster.CreateTopic(name, 2, map[string]string{"max.message.bytes": poisonous}); err != nil {
					rt.Fatal(err)
				}
			}
			lane, net := w.lossySession(owner)
			model := &ledgerModel{pos: Position{Offset: -1}}
			s := takeOver(rt, lane, topic, model, nil)
			for i := range rapid.IntRange(1, 6).Draw(rt, "transactions") {
				net.draw(rt)
				pass(t, rapid.SampledFrom([]time.Duration{0, 0, moment - time.Millisecond, late - retryBase}).Draw(rt, "pause"))
				msgs := drawMessages(rt, out, i)
				pos := Position{Offset: int64(i), Metadata: fmt.Sprint("commit ", i)}
				err := s.Transact(t.Context(), msgs, pos)
				switch code := CodeOf(err); {
				case err == nil:
					model.commit(msgs, pos)
				case isPoison(err):
					checkPoison(rt, err, msgs)
				case code == CodeFenced:
					net.calm()
					s = takeOver(rt, lane, topic, model, &attempted{msgs, pos})
				case code != CodeUnavailable:
					rt.Fatalf("transaction %d: %v", i, err)
				}
				if rapid.IntRange(0, 5).Draw(rt, "successor") == 0 {
					net.calm()
					zombie := s
					s = takeOver(rt, lane, topic, model, nil)
					if err := zombie.Transact(t.Context(), say(out, "zombie"), Position{Offset: 99}); CodeOf(err) != CodeFenced {
						rt.Fatalf("a zombie got %v", err)
					}
				}
			}
			net.calm()
			settled(t)
			model.check(rt, w, s, out)
			// Every client asks for all topics every second.
			if err := lane.client.Close(); err != nil {
				rt.Fatal(err)
			}
			for _, name := range []string{topic, out} {
				if err := w.cluster.DeleteTopic(name); err != nil {
					rt.Fatal(err)
				}
			}
		})
	})
}

// attempted is a transaction whose outcome its caller was not told.
type attempted struct {
	msgs []Message
	pos  Position
}

// takeOver is a new session for the topic. What it finds committed decides
// about its predecessor's last transaction.
func takeOver(rt *rapid.T, lane *Session, topic string, model *ledgerModel, open *attempted) *Session {
	s := lane.on(lane.client, topic)
	if err := s.Fence(rt.Context()); err != nil {
		rt.Fatal(err)
	}
	pos, err := s.Position(rt.Context())
	if err != nil {
		rt.Fatal(err)
	}
	if open != nil && pos == open.pos {
		model.commit(open.msgs, pos)
	}
	if pos != model.pos {
		rt.Fatalf("position %+v, want %+v", pos, model.pos)
	}
	return s
}

func (m *ledgerModel) commit(msgs []Message, pos Position) {
	for _, msg := range msgs {
		m.values = append(m.values, string(msg.Value))
	}
	m.pos = pos
}

func (m *ledgerModel) check(rt *rapid.T, w *world, s *Session, out string) {
	slices.Sort(m.values)
	if got := w.committed(out); !slices.Equal(got, m.values) {
		rt.Fatalf("committed %v, want %v", got, m.values)
	}
	if got, err := s.Position(rt.Context()); err != nil || got != m.pos {
		rt.Fatalf("position %+v, %v, want %+v", got, err, m.pos)
	}
}

// draw plans what becomes of the next few requests of every kind.
func (n *lossyNet) draw(rt *rapid.T) {
	fates := rapid.SliceOfN(rapid.SampledFrom([]fate{arrives, arrives, arrives, lost, unheard, overtaken, passed}), 0, 5)
	for _, key := range txnKeys {
		n.plan(key, fates.Draw(rt, key.Name())...)
	}
}

// calm lets everything arrive.
func (n *lossyNet) calm() {
	for _, key := range txnKeys {
		n.plan(key)
	}
}

func drawMessages(rt *rapid.T, out string, txn int) (msgs []Message) {
	poison := rapid.IntRange(0, 3).Draw(rt, "poisoned") == 0
	for i := range rapid.IntRange(0, 9).Draw(rt, "messages") {
		m := Message{Topic: out, Value: fmt.Append(nil, txn, ".", i)}
		if pin := rapid.IntRange(-1, 1).Draw(rt, "pin"); pin >= 0 {
			m.Partition = &pin
		}
		if poison && rapid.IntRange(0, 3).Draw(rt, "poison") == 0 {
			m.Value = append(m.Value, make([]byte, 2000)...)
		}
		msgs = append(msgs, m)
	}
	return msgs
}

func isPoison(err error) bool {
	_, ok := errors.AsType[*PoisonError](err)
	return ok
}

func checkPoison(rt *rapid.T, err error, msgs []Message) {
	poison, _ := errors.AsType[*PoisonError](err)
	var want []int
	for i, m := range msgs {
		if len(m.Value) > 1000 {
			want = append(want, i)
		}
	}
	if len(want) == 0 || !slices.Equal(poison.Indexes, want) {
		rt.Fatalf("poison %v, want %v", poison.Indexes, want)
	}
}
