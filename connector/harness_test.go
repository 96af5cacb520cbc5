package connector

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/ratelimit"
	"github.com/countersign/countersign/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testService = "VAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	testFactor  = "YFaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	testSID     = "YCaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
)

// modelLog is a partition in memory: a source and a committer whose state can
// be looked at. It checks at every commit that no unfinished record is passed.
type modelLog struct {
	t         testing.TB
	mu        sync.Mutex
	records   []kafka.Record
	stable    int64
	arrived   chan struct{}
	committed kafka.Position
	published []kafka.Message
	finished  map[int64]bool // offsets with a published result or dead letter
	fetches   int
	commitErr func() error
	hold      chan struct{} // when set, commits wait for it
	commits   int
	largest   int // bytes of a group
	// What the books hold.
	remembered *schemas.Position
	noted      []schemas.LedgerEntry
	others     int // partitions that the other partitions' records tell of
}

func newModelLog(t testing.TB) *modelLog {
	t.Helper()
	return &modelLog{t: t, committed: kafka.Position{Offset: -1}, finished: map[int64]bool{}, arrived: make(chan struct{})}
}

// add appends a record at the next offset, or behind a gap.
func (m *modelLog) add(key string, value []byte, gap int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	offset := m.stable + gap
	r := kafka.Record{Topic: "requests", Offset: offset, Value: value, Timestamp: time.Now()}
	if key != "" {
		r.Key = []byte(key)
	}
	m.records = append(m.records, r)
	m.stable = offset + 1
	close(m.arrived)
	m.arrived = make(chan struct{})
	return offset
}

func (m *modelLog) Position(context.Context) (kafka.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.committed, nil
}

func (m *modelLog) Range(context.Context) (kafka.Range, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return kafka.Range{End: m.stable}, nil
}

func (m *modelLog) fence(context.Context) error                  { return nil }
func (m *modelLog) anchor(context.Context, kafka.Position) error { return nil }

// memory is the model's ledger and positions topics.
func (m *modelLog) memory() memory { return modelMemory{m} }

type modelMemory struct{ *modelLog }

func (m modelMemory) position(context.Context) (*schemas.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.remembered, nil
}

func (m modelMemory) otherCount(_ context.Context, now int) (int, error) {
	if m.others == now {
		return 0, nil
	}
	return m.others, nil
}

func (m modelMemory) ledger(_ context.Context, from int64, horizon time.Time, each func(schemas.LedgerEntry)) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, e := range m.noted {
		if int64(i) >= from && !e.At.Before(horizon) {
			each(e)
		}
	}
	return int64(len(m.noted)), nil
}

// freeLease never ends.
type freeLease struct{}

func (freeLease) Left() time.Duration { return time.Hour }

func (m *modelLog) Fetch(ctx context.Context, offset int64, maxBytes int, maxWait time.Duration) (kafka.Fetched, error) {
	for wait := time.After(maxWait); ; {
		m.mu.Lock()
		m.fetches++
		f := kafka.Fetched{Next: offset, LastStable: m.stable}
		size := 0
		for _, r := range m.records {
			if r.Offset < offset || size > maxBytes {
				continue
			}
			f.Records, f.Next, size = append(f.Records, r), r.Offset+1, size+len(r.Value)
		}
		if len(f.Records) == 0 && m.stable > offset {
			f.Next = m.stable // nothing but filtered records
		}
		arrived := m.arrived
		m.mu.Unlock()
		if f.Next > offset {
			return f, nil
		}
		select {
		case <-arrived:
		case <-wait:
			return f, nil
		case <-ctx.Done():
			return f, ctx.Err()
		}
	}
}

func (m *modelLog) commit(ctx context.Context, g group) error {
	m.mu.Lock()
	hold, fail := m.hold, m.commitErr
	m.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fail != nil {
		if err := fail(); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commits++
	size := 0
	for _, o := range g.outputs {
		size += len(o.msg.Value)
		m.published = append(m.published, o.msg)
		m.finished[m.offsetOf(o.msg)] = true
	}
	m.largest = max(m.largest, size)
	for _, b := range g.books {
		m.note(b)
	}
	for _, r := range m.records {
		if g.position.has(r.Offset) != m.finished[r.Offset] && g.position.has(r.Offset) {
			m.t.Errorf("commit at %d passes record %d, which has neither result nor dead letter", g.position.frontier, r.Offset)
		}
	}
	// What was committed is recognised by its metadata, so no two may be alike.
	before, _ := parsePosition(m.committed.Offset, m.committed.Metadata)
	if g.position.seq <= before.seq {
		m.t.Errorf("commit %d follows commit %d", g.position.seq, before.seq)
	}
	m.committed = g.committed()
	return nil
}

func (m *modelLog) note(b kafka.Message) {
	if b.Topic == "positions" {
		p, err := schemas.DecodePosition(b.Value)
		if err != nil {
			m.t.Errorf("a position record does not decode: %v", err)
		}
		m.remembered = p
		return
	}
	e, err := schemas.DecodeLedgerEntry(b.Value)
	if err != nil {
		m.t.Errorf("a ledger entry does not decode: %v", err)
		return
	}
	m.noted = append(m.noted, *e)
}

func (m *modelLog) offsetOf(msg kafka.Message) int64 {
	if msg.Topic == "deadletters" {
		d, _, err := schemas.DecodeDeadLetter(msg.Headers)
		if err != nil {
			m.t.Errorf("a dead letter's headers do not decode: %v", err)
			return -1
		}
		return d.Offset
	}
	r, _, err := schemas.DecodeResult(msg.Value)
	if err != nil {
		m.t.Errorf("a result does not decode: %v\n%s", err, msg.Value)
		return -1
	}
	return r.Request.Offset
}

// results are the published results in order, decoded.
func (m *modelLog) results() []*schemas.Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*schemas.Result
	for _, msg := range m.published {
		if msg.Topic != "results" {
			continue
		}
		r, _, err := schemas.DecodeResult(msg.Value)
		if err != nil {
			m.t.Fatalf("a result does not decode: %v", err)
		}
		out = append(out, r)
	}
	return out
}

func (m *modelLog) deadLetters() []kafka.Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []kafka.Message
	for _, msg := range m.published {
		if msg.Topic == "deadletters" {
			out = append(out, msg)
		}
	}
	return out
}

func (m *modelLog) offset() kafka.Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.committed
}

// modelAPI is a caller that answers by a function.
type modelAPI struct {
	mu     sync.Mutex
	answer func(ctx context.Context, req *schemas.Request, n int) (answer, error) // n counts calls of this id from 1
	calls  []string                                                               // request ids in order of call
	count  map[string]int
	probes int
	probed func() error
	now    int
	most   int
	looks  int
	seen   func(ctx context.Context, q query) (sighting, error)
	paged  func(ctx context.Context, pay func() error) (sighting, error) // where set, instead of seen
}

func (m *modelAPI) look(ctx context.Context, q query, pay func() error) (sighting, error) {
	m.mu.Lock()
	m.looks++
	look, paged := m.seen, m.paged
	m.mu.Unlock()
	if paged != nil {
		return paged(ctx, pay)
	}
	if look == nil {
		return sighting{complete: true}, nil
	}
	return look(ctx, q)
}

func (m *modelAPI) call(ctx context.Context, out outgoing) (answer, error) {
	req := out.req
	m.mu.Lock()
	if m.count == nil {
		m.count = map[string]int{}
	}
	m.calls = append(m.calls, req.ID)
	m.count[req.ID]++
	n := m.count[req.ID]
	m.now++
	m.most = max(m.most, m.now)
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.now--
		m.mu.Unlock()
	}()
	if m.answer == nil {
		return okAnswer(), nil
	}
	return m.answer(ctx, req, n)
}

func (m *modelAPI) probe(context.Context, probeTarget) (answer, error) {
	m.mu.Lock()
	m.probes++
	probed := m.probed
	m.mu.Unlock()
	if probed != nil {
		return answer{}, probed()
	}
	return answer{}, nil
}

func (m *modelAPI) called(id string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count[id]
}

func (m *modelAPI) total() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.calls)
}

func (m *modelAPI) probesMade() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.probes
}

func okAnswer() answer {
	return answer{challenge: json.RawMessage(`{"sid":"` + testSID + `","status":"pending"}`)}
}

func apiErr(status, code int) error {
	return &read.APIError{Status: status, Code: code, Message: "said the API"}
}

func refusedConn() error {
	return &read.CallError{Code: read.CodeNotSent, Err: fmt.Errorf("connection refused")}
}

// createEvent is a valid create request.
func createEvent(t testing.TB, id, identity string) []byte {
	t.Helper()
	r := schemas.Request{
		ID: id, Operation: schemas.OperationCreate, ServiceSID: testService, Identity: identity,
		Create: &schemas.Create{FactorSID: testFactor, Details: &schemas.Details{Message: "Sign in?"}},
	}
	return encodeRequest(t, r)
}

func fetchEvent(t testing.TB, id, identity string) []byte {
	t.Helper()
	return encodeRequest(t, schemas.Request{
		ID: id, Operation: schemas.OperationFetch, ServiceSID: testService, Identity: identity, ChallengeSID: testSID,
	})
}

func encodeRequest(t testing.TB, r schemas.Request) []byte {
	t.Helper()
	b, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rig is one lane with its models. Tests change cfg and accounts before start.
type rig struct {
	t        testing.TB
	log      *modelLog
	src      source // log, unless a test puts another one in front of it
	memory   memory // log's, unless a test puts another one in front of it
	lease    lease
	api      *modelAPI
	cfg      laneConfig
	acct     *account
	limiter  *ratelimit.Limiter
	lane     *lane
	stop     context.CancelFunc
	abort    func()
	stopped  chan error
	stopProb func()
	room     *ledgerRoom
}

func testAccountConfig() AccountConfig {
	return AccountConfig{
		Timeout: 10 * time.Second,
		Rate:    RateConfig{Concurrency: 64},
		Breaker: BreakerConfig{Failures: 5, Ratio: 0.5, Window: 10 * time.Second, Open: 5 * time.Second},
	}
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, log: newModelLog(t), api: &modelAPI{}, room: newLedgerRoom(100000)}
	r.cfg = laneConfig{
		window:   WindowConfig{Span: 1024, Records: 10000},
		retry:    RetryConfig{Attempts: 6, Elapsed: time.Minute, Base: 100 * time.Millisecond, Cap: 5 * time.Second},
		notAfter: 5 * time.Minute, drain: 20 * time.Second, partitions: 1,
		recovery: RecoveryConfig{Apart: 2 * time.Second, MaxPages: 20}, marker: newMarker(testConfig()),
		events:   events{group: "g", topics: TopicsConfig{Requests: "requests", Results: "results", DeadLetters: "deadletters", Ledger: "ledger", Positions: "positions"}, limit: defaultEventLimit},
		budget:   newBudget(10000, 1<<28),
		stats:    newStats(),
		log:      slog.New(slog.DiscardHandler),
		maxBatch: 100, fetchBytes: 1 << 20, fetchMaxWait: 250 * time.Millisecond,
		accounts: map[string]*account{},
	}
	r.acct = r.addAccount("main", r.api, testAccountConfig())
	return r
}

func (r *rig) addAccount(name string, c caller, cfg AccountConfig) *account {
	l, err := ratelimit.New(ratelimit.Config{
		PerSecond: cfg.Rate.PerSecond, Burst: cfg.Rate.Burst, Concurrency: cfg.Rate.Concurrency,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	l.SetShare(1, 1)
	a := newAccount(name, cfg, c, l, r.cfg.stats, r.cfg.log, func() {
		if r.lane != nil {
			r.lane.poke()
		}
	})
	r.cfg.accounts[name] = a
	return a
}

// pass lets virtual time go by.
func pass(d time.Duration) { <-time.After(d) }

func (r *rig) deps() laneDeps {
	books := newLedger(2*time.Hour, r.room)
	books.rings = newRings(r.cfg.guard)
	return laneDeps{
		source: r.src, delivery: r.log, memory: cmp.Or(r.memory, r.log.memory()), lease: r.lease,
		ledger: books,
	}
}

// testConfig has what the marker depends on.
func testConfig() Config {
	return Config{
		Recovery: RecoveryConfig{Deployment: "test"},
		Accounts: map[string]AccountConfig{"main": {AccountSID: "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}},
	}
}

// start runs the lane and the probers. Inside a synctest bubble everything is
// in virtual time.
func (r *rig) start() {
	if r.src == nil {
		r.src = r.log
	}
	if r.lease == nil {
		r.lease = freeLease{}
	}
	r.lane = newLane(r.cfg, 0, r.deps())
	ctx, stop := context.WithCancel(r.t.Context())
	abort := make(chan struct{})
	r.stop, r.abort, r.stopped = stop, sync.OnceFunc(func() { close(abort) }), make(chan error, 1)
	probing, stopProbing := context.WithCancel(ctx)
	var probers sync.WaitGroup
	for _, a := range r.cfg.accounts {
		probers.Go(func() { a.probe(probing) })
	}
	r.stopProb = func() { stopProbing(); probers.Wait() }
	lane := r.lane
	go func() { r.stopped <- lane.run(ctx, abort) }()
}

// end drains the lane and returns what run returned.
func (r *rig) end() error {
	r.stop()
	err := <-r.stopped
	r.abort()
	r.stopProb()
	return err
}

// mustEnd drains and expects a clean end with nothing abandoned.
func (r *rig) mustEnd() {
	r.t.Helper()
	if err := r.end(); err != nil {
		r.t.Errorf("the lane ended with %v", err)
	}
	if r.lane.abandoned != 0 {
		r.t.Errorf("%d records were abandoned", r.lane.abandoned)
	}
}
