package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sort"
	"sync"
	"time"

	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/ratelimit"
)

// Connector consumes challenge-request events, calls the Challenge API and
// publishes result events. Make one with New; Run it once. All methods are
// safe for concurrent use.
type Connector struct {
	cfg      Config
	log      *slog.Logger
	trouble  *slog.Logger // for what every lane finds, again and again
	stats    *stats
	accounts map[string]*account
	clients  []*challenge.Client
	budget   *budget
	marker   *marker
	tracer   oteltrace.Tracer // nil: nothing is traced
	client   *kafka.Client    // set by Run before it joins the group

	ledgerRoom *ledgerRoom
	ends       ends

	abort   chan struct{} // closed by Abort
	giveUp  func()
	changes chan struct{}

	mu        sync.Mutex
	state     State
	joined    bool
	reason    string // why the group is not joined
	lanes     map[*lane]struct{}
	vitals    map[*vitals]struct{} // of the lanes
	abandoned int
	// partitions is how many the request topic has in this generation.
	partitions int
	said       map[string]bool // what was said of topics, and is not said again
	ledgers    map[int]*ledger // of the partitions that this instance owns
}

// Option changes how a Connector is made.
type Option func(*Connector)

// WithLogger sets where the Connector logs to. Without it, it is silent. It
// logs no identity, key or payload in clear.
func WithLogger(l *slog.Logger) Option { return func(c *Connector) { c.log = l } }

// ErrRunning is returned by Run when it has been called before.
var ErrRunning = errors.New("connector: Run has been called before")

// DrainError says that a Connector had to leave work behind when it ended.
// Nothing of it is lost: it was not committed, so the next owner of the
// partitions takes it up, and looks for what may have been called.
type DrainError struct {
	// Abandoned counts records whose call or commit did not end in time.
	Abandoned int
}

// Error implements error.
func (e *DrainError) Error() string {
	return fmt.Sprintf("connector: %d record(s) did not end within the drain timeout and are left to the next owner", e.Abandoned)
}

// New makes a Connector from a configuration. It fills in the defaults,
// validates everything, reads the files that it names and connects to nothing. A configuration that is not
// valid gives a *ConfigError with every violation.
func New(cfg Config, opts ...Option) (*Connector, error) {
	cfg = cfg.WithDefaults()
	if v := cfg.Validate(); len(v) > 0 {
		return nil, &ConfigError{Violations: v}
	}
	if v := cfg.Kafka.CheckFiles(); len(v) > 0 {
		return nil, &ConfigError{Violations: v}
	}
	c := &Connector{
		cfg: cfg, log: slog.New(slog.DiscardHandler), stats: newStats(), state: StateConfigured,
		accounts: map[string]*account{}, lanes: map[*lane]struct{}{}, vitals: map[*vitals]struct{}{}, changes: make(chan struct{}, 1),
		budget: newBudget(cfg.Window.Records, cfg.Window.Bytes),
		marker: newMarker(cfg), ledgers: map[int]*ledger{}, ledgerRoom: newLedgerRoom(cfg.Ledger.Entries),
	}
	for _, o := range opts {
		o(c)
	}
	c.trouble = newQuiet(c.log.Handler())
	c.stats.registry.MustRegister(newStatusMetrics(c))
	registerProcess(c.stats.registry, cfg.Delivery)
	c.abort = make(chan struct{})
	c.giveUp = sync.OnceFunc(func() { close(c.abort) })
	for name, a := range cfg.Accounts {
		if err := c.addAccount(name, a); err != nil {
			return nil, fmt.Errorf("connector: account %s: %w", name, err)
		}
	}
	return c, nil
}

func (c *Connector) addAccount(name string, a AccountConfig) error {
	limiter, err := ratelimit.New(ratelimit.Config{
		PerSecond: a.Rate.PerSecond, Burst: a.Rate.Burst, Concurrency: a.Rate.Concurrency,
	})
	if err != nil {
		return err
	}
	client, err := challenge.New(a.client())
	if err != nil {
		return err
	}
	c.clients = append(c.clients, client)
	if a.Timeout > c.cfg.DrainTimeout*3/4 {
		c.log.Warn("the account's timeout exceeds three quarters of the drain timeout: a stop or a rebalance can give up its calls",
			"account", name, "timeout", a.Timeout.String(), "drain_timeout", c.cfg.DrainTimeout.String())
	}
	c.accounts[name] = newAccount(name, a, apiCaller{client}, limiter, c.stats, c.log, c.accountChanged)
	return nil
}

// client is the configuration of a client of the Challenge API.
func (a AccountConfig) client() read.Config {
	conf := read.Config{
		AccountSID: a.AccountSID, Username: a.AccountSID, Password: a.AuthToken, Region: a.Region, Edge: a.Edge,
		BaseURL: a.BaseURL, Timeout: a.Timeout, MaxIdleConns: a.Rate.Concurrency,
	}
	if a.APIKey != "" {
		conf.Username, conf.Password = a.APIKey, a.APISecret
	}
	return conf
}

// Reader is a client of the account's Challenge API that can only read: nothing but
// GET leaves through it. The error is that of read.New.
func (a AccountConfig) Reader() (*read.Client, error) { return read.New(a.withDefaults().client()) }

// Run joins the consumer group and works until ctx ends. Then it takes no new
// work, finishes and commits what is in flight within the drain timeout,
// leaves the group and returns: nil if nothing had to be given up, a
// *DrainError if something had to. Any other error says why it had to stop by
// itself.
func (c *Connector) Run(ctx context.Context) error {
	if !c.enter(StateConfigured, StateRunning) {
		return ErrRunning
	}
	err := c.run(ctx)
	c.mu.Lock()
	c.joined = false
	c.state = StateStopped
	if err == nil && c.abandoned > 0 {
		err = &DrainError{Abandoned: c.abandoned}
	} else if err != nil {
		c.state, c.reason = StateFailed, err.Error()
	}
	c.mu.Unlock()
	c.changed()
	return err
}

func (c *Connector) run(ctx context.Context) error {
	client, err := kafka.NewClient(c.cfg.Kafka.Client(c.log))
	if err != nil {
		return err
	}
	defer func() {
		if err := client.Close(); err != nil {
			c.log.Warn("closing the Kafka client", "error", err)
		}
		for _, a := range c.clients {
			a.CloseIdleConnections()
		}
	}()
	c.client = client
	var probers sync.WaitGroup
	defer probers.Wait()
	probing, stopProbing := context.WithCancel(ctx)
	defer stopProbing()
	for _, a := range c.accounts {
		probers.Go(func() { a.probe(probing) })
	}
	probers.Go(func() {
		c.watchEnds(probing, func(ctx context.Context) ([]kafka.Range, error) {
			return client.Ranges(ctx, c.cfg.Kafka.Topics.Requests)
		})
	})
	defer context.AfterFunc(ctx, func() { c.enter(StateRunning, StateDraining); c.changed() })()
	group, leave := context.WithCancel(ctx)
	var aborting sync.WaitGroup
	defer aborting.Wait()
	defer leave()
	aborting.Go(func() {
		select {
		case <-c.abort:
			leave()
		case <-group.Done():
		}
	})
	if !c.awaitTopics(group, client) {
		return nil // stopped before there was anything to drain
	}
	return client.RunGroup(group, kafka.GroupConfig{
		Group: c.cfg.Kafka.Group, Topic: c.cfg.Kafka.Topics.Requests,
		SessionTimeout: c.cfg.Kafka.SessionTimeout, RebalanceTimeout: c.cfg.Kafka.RebalanceTimeout, Logger: c.trouble,
		LeaseMargin: c.cfg.Kafka.LeaseMargin, TransactionTimeout: c.cfg.Kafka.TransactionTimeout,
	}, member{c})
}

// Abort gives up at once: calls under way are cancelled, nothing more is
// committed. It is idempotent and legal at any time; Run returns soon after.
func (c *Connector) Abort() { c.giveUp() }

// Changes gets a signal after something in Status has changed; signals that
// are not taken are merged into one.
func (c *Connector) Changes() <-chan struct{} { return c.changes }

func (c *Connector) changed() {
	select {
	case c.changes <- struct{}{}:
	default:
	}
}

func (c *Connector) enter(from, to State) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != from {
		return false
	}
	c.state = to
	return true
}

// accountChanged wakes every lane, because a blocked or freed account changes
// what each of them can do.
func (c *Connector) accountChanged() {
	for _, l := range c.running() {
		l.poke()
	}
	c.changed()
}

func (c *Connector) running() []*lane {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*lane, 0, len(c.lanes))
	for l := range c.lanes {
		out = append(out, l)
	}
	return out
}

// Status is a snapshot of the Connector.
func (c *Connector) Status() Status {
	s := Status{InFlight: int(c.stats.inFlight.Load())}
	s.Counters, s.Latency = c.stats.counters()
	for _, l := range c.running() {
		if ls, ok := l.snapshot(); ok {
			c.ends.raise(&ls)
			s.Lanes = append(s.Lanes, ls)
		}
	}
	sort.Slice(s.Lanes, func(i, j int) bool { return s.Lanes[i].Partition < s.Lanes[j].Partition })
	for _, a := range c.accounts {
		s.Accounts = append(s.Accounts, a.status())
	}
	sort.Slice(s.Accounts, func(i, j int) bool { return s.Accounts[i].Name < s.Accounts[j].Name })
	unwell := c.unwell(time.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	s.State, s.Reason = c.state, c.reason
	s.Ready = c.state == StateRunning && c.joined
	if s.Ready && unwell != "" {
		s.Ready, s.Reason = false, unwell
	}
	for _, a := range s.Accounts {
		if a.Blocked == string(blockedCredentials) {
			s.Ready, s.Reason = false, "account "+a.Name+": the API refuses its credentials"
		}
	}
	if !s.Ready && s.Reason == "" && c.state == StateRunning {
		s.Reason = "joining the consumer group"
	}
	return s
}

// WriteMetrics writes the metrics in Prometheus' text format.
func (c *Connector) WriteMetrics(w io.Writer) error { return c.stats.write(w) }
