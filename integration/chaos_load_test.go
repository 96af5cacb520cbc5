package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

// requestField is the hidden detail in which a create carries its request id,
// so that the API's own log can be joined to the requests without the
// connector's word.
const requestField = "test_request"

// load produces requests until it is told to end, and follows the answers to
// know what it may ask next.
type load struct {
	c        *chaos
	rng      *rand.Rand // of the one goroutine that produces
	key      *ecdsa.PrivateKey
	factors  []emulator.Factor
	plainly  bool // without transactions
	plain    *kgo.Client
	manual   *kgo.Client // says itself which partition
	upstream *kgo.Client // transactional
	stop     context.CancelFunc
	producer sync.WaitGroup
	follower sync.WaitGroup
	unfollow context.CancelFunc

	mu      sync.Mutex
	n       int
	count   int // committed records
	answers map[string]bool
	arrived []time.Time       // when the first answers to records were seen
	made    []made            // the newest challenges that results told of
	creates []schemas.Request // the newest creates, to be repeated
	aborted map[string]bool   // ids of requests that were never committed
}

// made is a challenge as a result shows it.
type made struct {
	SID      string `json:"sid"`
	Service  string `json:"service_sid"`
	Identity string `json:"identity"`
	resource []byte
}

const keepNewest = 300

func newLoad(c *chaos) *load {
	c.t.Helper()
	l := &load{c: c, rng: rand.New(rand.NewPCG(c.seed, 2)), answers: map[string]bool{}, aborted: map[string]bool{}}
	var err error
	l.key, err = ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	must(c.t, err)
	for i := range 400 {
		f, err := c.api.AddPushFactor(fmt.Sprintf("chaos-%04d", i), &l.key.PublicKey)
		must(c.t, err)
		l.factors = append(l.factors, f)
	}
	l.plain = c.client(kgo.DefaultProduceTopic(c.topics.Requests))
	l.manual = c.client(kgo.DefaultProduceTopic(c.topics.Requests), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	l.upstream = c.client(kgo.DefaultProduceTopic(c.topics.Requests), kgo.TransactionalID(c.group+"-upstream"))
	c.t.Cleanup(l.plain.Close)
	c.t.Cleanup(l.manual.Close)
	c.t.Cleanup(l.upstream.Close)
	following, unfollow := context.WithCancel(context.WithoutCancel(c.t.Context()))
	l.stop, l.unfollow = func() {}, unfollow
	l.follower.Go(func() { l.follow(following) })
	c.t.Cleanup(func() {
		l.stop()
		l.producer.Wait()
		l.unfollow()
		l.follower.Wait()
	})
	return l
}

// begin produces requests of all kinds until end.
func (l *load) begin() {
	ctx, stop := context.WithCancel(context.WithoutCancel(l.c.t.Context()))
	l.stop = stop
	l.producer.Go(func() { l.produce(ctx) })
}

// ask sends n creates at once, over the first so many factors. Each has a key
// of its own, so that no key's order bounds how many are under way; a factor's
// creates share a partition all the same, as they do when keyed by identity.
func (l *load) ask(n, factors int) {
	l.c.t.Helper()
	batch := make([]*kgo.Record, n)
	for i := range batch {
		l.n++
		batch[i] = encoded(l.create(l.factors[i%factors]))
		batch[i].Key, batch[i].Partition = []byte(l.id("key")), int32(i%factors%partitions)
	}
	must(l.c.t, l.manual.ProduceSync(l.c.t.Context(), batch...).FirstErr())
	l.committed(n)
}

func (l *load) end() {
	l.stop()
	l.producer.Wait()
}

func (l *load) sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

func (l *load) answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.answers)
}

// follow reads the answers as a read_committed consumer does.
func (l *load) follow(ctx context.Context) {
	client := l.c.client(kgo.ConsumeTopics(l.c.topics.Results, l.c.topics.DeadLetters), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(250*time.Millisecond))
	defer client.Close()
	for ctx.Err() == nil {
		for r := range client.PollFetches(ctx).RecordsAll() {
			l.take(r)
		}
	}
}

func (l *load) take(r *kgo.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Topic == l.c.topics.DeadLetters {
		l.answer(deadOf(r).at)
		return
	}
	var res judged
	if json.Unmarshal(r.Value, &res) != nil {
		return // the judge says what is wrong with it
	}
	l.answer(res.at())
	if res.Operation != "create" || res.Challenge == nil {
		return
	}
	var m made
	if json.Unmarshal(res.Challenge, &m) == nil {
		m.resource = res.Challenge
		l.made = append(l.made, m)
		l.made = l.made[max(0, len(l.made)-keepNewest):]
	}
}

// answer notes that a record has an answer. l.mu is held.
func (l *load) answer(at string) {
	if !l.answers[at] {
		l.answers[at] = true
		l.arrived = append(l.arrived, time.Now())
	}
}

// produce sends small batches, some of them in transactions of an upstream
// producer, of which some are aborted.
func (l *load) produce(ctx context.Context) {
	const each = 50 * time.Millisecond
	tick := time.NewTicker(each)
	defer tick.Stop()
	owed := 0.0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var batch []*kgo.Record
		for owed += float64(*chaosRate) * each.Seconds(); owed >= 1; owed-- {
			batch = append(batch, l.next())
		}
		if len(batch) == 0 {
			continue
		}
		if err := l.send(batch); err != nil {
			l.c.t.Errorf("the load: %v", err)
			return
		}
	}
}

func (l *load) send(batch []*kgo.Record) error {
	ctx := context.WithoutCancel(l.c.t.Context())
	draw := l.rng.IntN(20)
	if draw >= 2 || l.plainly {
		if err := l.plain.ProduceSync(ctx, batch...).FirstErr(); err != nil {
			return err
		}
		l.committed(len(batch))
		return nil
	}
	if err := l.upstream.BeginTransaction(); err != nil {
		return err
	}
	err := l.upstream.ProduceSync(ctx, batch...).FirstErr()
	if draw == 0 {
		l.abandon(batch)
		return errors.Join(err, l.upstream.EndTransaction(ctx, kgo.TryAbort))
	}
	if err := errors.Join(err, l.upstream.EndTransaction(ctx, kgo.TryCommit)); err != nil {
		return err
	}
	l.committed(len(batch))
	return nil
}

func (l *load) committed(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count += n
}

// abandon notes the ids of new creates whose transaction is aborted.
func (l *load) abandon(batch []*kgo.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range batch {
		var event struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(r.Value, &event) != nil {
			continue
		}
		l.aborted[event.ID] = true
		for i, c := range l.creates {
			if c.ID == event.ID { // not to be repeated: its id was never used
				l.creates = append(l.creates[:i], l.creates[i+1:]...)
				break
			}
		}
	}
}

// next makes a request of a random kind.
func (l *load) next() *kgo.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	switch draw := l.rng.IntN(100); {
	case draw < 3:
		return l.bad()
	case draw < 6 && len(l.creates) > 0:
		return encoded(l.creates[l.rng.IntN(len(l.creates))]) // the same again
	case draw < 8 && len(l.creates) > 0:
		again := l.creates[l.rng.IntN(len(l.creates))]
		create := *again.Create
		create.Details = &schemas.Details{Message: "Another sign in?"}
		again.Create = &create
		return encoded(again)
	case draw < 14 && len(l.made) > 0:
		m := l.made[l.rng.IntN(len(l.made))]
		return encoded(schemas.Request{
			ID: l.id("fetch"), Operation: schemas.OperationFetch, ServiceSID: m.Service, Identity: m.Identity, ChallengeSID: m.SID,
		})
	case draw < 18 && len(l.made) > 0:
		if r := l.update(); r != nil {
			return r
		}
	case draw < 22:
		f := l.factor()
		return encoded(schemas.Request{
			ID: l.id("list"), Operation: schemas.OperationList, ServiceSID: f.ServiceSID, Identity: f.Identity,
			List: &schemas.List{FactorSID: f.SID, Limit: 5},
		})
	}
	r := l.create(l.factor())
	if l.rng.IntN(25) == 0 {
		at := time.Now().Add(time.Duration(l.rng.IntN(3000)) * time.Millisecond)
		r.NotAfter = &at
	}
	l.creates = append(l.creates, r)
	l.creates = l.creates[max(0, len(l.creates)-keepNewest):]
	return encoded(r)
}

func (l *load) id(kind string) string { return fmt.Sprintf("%s-%06d", kind, l.n) }

func (l *load) factor() emulator.Factor { return l.factors[l.rng.IntN(len(l.factors))] }

// create is a create with an id of its own.
func (l *load) create(f emulator.Factor) schemas.Request {
	id := l.id("create")
	return schemas.Request{
		ID: id, Operation: schemas.OperationCreate, ServiceSID: f.ServiceSID, Identity: f.Identity,
		Create: &schemas.Create{
			FactorSID: f.SID, Details: &schemas.Details{Message: "Sign in, " + id + "?"},
			HiddenDetails: map[string]string{requestField: id},
		},
	}
}

// update answers a challenge as its device would; some signatures are forged.
func (l *load) update() *kgo.Record {
	m := l.made[l.rng.IntN(len(l.made))]
	payload := "not-a-signature"
	if l.rng.IntN(4) > 0 {
		signed, err := device.SignChallenge(l.key, emulator.DefaultSignatureFields(), m.resource, device.StatusApproved)
		if err != nil {
			return nil
		}
		payload = signed
	}
	return encoded(schemas.Request{
		ID: l.id("update"), Operation: schemas.OperationUpdate, ServiceSID: m.Service, Identity: m.Identity, ChallengeSID: m.SID,
		Update: &schemas.Update{AuthPayload: payload},
	})
}

// bad is an event that must cost no call.
func (l *load) bad() *kgo.Record {
	f := l.factor()
	value := []string{
		"not json",
		`{"version":"1.0","operation":"create"}`,
		fmt.Sprintf(`{"version":"1.0","id":%q,"operation":"create","identity":%q}`, l.id("bad"), f.Identity),
		fmt.Sprintf(`{"version":"9.0","id":%q,"operation":"create"}`, l.id("bad")),
	}[l.rng.IntN(4)]
	return &kgo.Record{Key: []byte(f.Identity), Value: []byte(value)}
}

// encoded keys a request by its identity, so that a repeated id lands on the
// partition of the first.
func encoded(r schemas.Request) *kgo.Record {
	value, err := r.Encode()
	if err != nil {
		panic("the load makes an event that can't be encoded: " + err.Error())
	}
	return &kgo.Record{Key: []byte(r.Identity), Value: value}
}
