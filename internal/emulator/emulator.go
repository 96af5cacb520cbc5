package emulator

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Emulator is one Challenge API. Its methods are safe for concurrent use.
type Emulator struct {
	cfg       Config
	users     map[string]login
	accounts  map[string]*account
	endpoints map[place]map[string]endpoint
	store     *store
	tokens    tokens
	stats     *stats
	log       createdLog
	dice      *dice
	faults    atomic.Pointer[Faults]
	sealKey   []byte

	handlers crowd
	lines    *lines
	outage   outageState
	outages  sync.WaitGroup
	closing  chan struct{} // closed when Close begins: latency ends early

	mu       sync.Mutex
	gate     *gate
	server   *http.Server
	served   chan struct{} // closed when Serve has returned
	isClosed bool

	url  atomic.Pointer[string] // for callers
	base atomic.Pointer[string] // for answers; nil: the request's Host
}

// New makes an Emulator that serves through Handler, and on the network after
// Start. Errors are *Error with CodeConfig or CodeFaults.
func New(cfg Config) (*Emulator, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.SignatureFields = slices.Clone(cfg.SignatureFields)
	e := &Emulator{
		cfg: cfg, endpoints: endpoints(), store: newStore(cfg.Rules), tokens: tokens{grants: map[string]grant{}},
		log: createdLog{limit: cfg.LogLimit}, dice: newDice(cfg.Seed), sealKey: make([]byte, 32),
		lines: newLines(), closing: make(chan struct{}),
	}
	e.users, e.accounts = logins(cfg.Accounts)
	e.stats = newStats(e.endpoints)
	_, _ = rand.Read(e.sealKey) // never fails
	if cfg.PublicURL != "" {
		e.url.Store(&cfg.PublicURL)
		e.base.Store(&cfg.PublicURL)
	}
	return e, e.SetFaults(cfg.Faults)
}

// Handler serves the API and its administration, for httptest and for
// testing/synctest. Outages of the listener need Start instead.
func (e *Emulator) Handler() http.Handler { return e }

// readHeaderTimeout ends a connection that sends no request. It is longer than
// clients keep an unused connection, so that none is closed under a request.
const readHeaderTimeout = 10 * time.Minute

// Start listens on Config.Addr and serves until Close, or until ctx ends, when
// the network side is dropped at once; Close must be called either way. Errors
// are *Error with CodeListen or CodeState.
func (e *Emulator) Start(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gate != nil || e.isClosed {
		return failf(CodeState, "Start on an emulator that was started or closed")
	}
	ctx, cancel := context.WithCancel(ctx)
	g, err := openGate(ctx, e.cfg.Addr)
	if err != nil {
		cancel()
		return err
	}
	server := &http.Server{
		Handler: e, ReadHeaderTimeout: readHeaderTimeout,
		ConnContext: e.lines.accepted, ConnState: e.lines.changed,
	}
	served := make(chan struct{})
	dropped := context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() {
		defer close(served)
		defer cancel()
		defer dropped()
		// It always fails: with ErrServerClosed after Close. Anything else ends
		// serving, which callers see as refused connections.
		_ = server.Serve(g)
	}()
	e.gate, e.server, e.served = g, server, served
	e.setURL(g.addr)
	return nil
}

func (e *Emulator) listener() *gate {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gate
}

// Addr returns the listening address, nil before Start.
func (e *Emulator) Addr() net.Addr {
	if g := e.listener(); g != nil {
		return g.Addr()
	}
	return nil
}

// setURL decides what callers and answers use where Config.PublicURL is empty. A
// listener on every interface has no address of its own: answers then repeat the caller's.
func (e *Emulator) setURL(addr *net.TCPAddr) {
	if e.cfg.PublicURL != "" {
		return
	}
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	url := "http://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
	e.url.Store(&url)
	if !addr.IP.IsUnspecified() {
		e.base.Store(&url)
	}
}

// URL returns what callers use as base URL: Config.PublicURL, or http:// and
// the address; empty before Start where there is no PublicURL.
func (e *Emulator) URL() string {
	if u := e.url.Load(); u != nil {
		return *u
	}
	return ""
}

// baseURL is what URLs in an answer begin with.
func (x *exchange) baseURL() string {
	if u := x.e.base.Load(); u != nil {
		return *u
	}
	return "http://" + x.r.Host
}

// Close stops serving: running requests are answered, latency cut short, and
// every goroutine is waited for. Where ctx ends first, connections are dropped,
// the goroutines are waited for all the same, and ctx's error is returned. A second Close
// waits for the first.
func (e *Emulator) Close(ctx context.Context) error {
	e.mu.Lock()
	first := !e.isClosed
	e.isClosed = true
	server, served, g := e.server, e.served, e.gate
	e.mu.Unlock()
	if first {
		e.outage.mu.Lock() // no outage begins behind the wait below
		close(e.closing)
		e.outage.mu.Unlock()
	}
	e.outages.Wait()
	var err error
	if server != nil {
		_ = g.Close() // never fails
		<-served      // nothing is accepted from here on, so that none is missed below
		e.lines.dropFresh()
		if err = server.Shutdown(ctx); err != nil {
			_ = server.Close()
		}
		<-e.lines.drained()
	}
	<-e.handlers.empty()
	return err
}
