package phones

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

// Config is what a Page is made of.
type Config struct {
	// Addr is host:port to listen on. Empty: a free port on loopback.
	Addr string
	// Phones are shown in this order. At least one.
	Phones []Phone
	// Created is the log of new challenges, which rings the phones: it returns up
	// to limit entries with a Seq above after, and the highest Seq there is.
	// Required; safe for concurrent use.
	Created func(after uint64, limit int) (entries []emulator.Created, last uint64)
	// Send asks for a challenge of a phone. Nil: the page has no form for it.
	Send func(context.Context, Ask) error
	// Hidden is the hidden detail that holds a request's id, by which a challenge
	// is joined to the request that Requested told of. Empty: they are joined once
	// Result names the challenge.
	Hidden string
	// Now is the API's clock. Nil: time.Now. Safe for concurrent use.
	Now func() time.Time
}

// Phone is one virtual device of the page.
type Phone struct {
	Identity string
	Device   *device.Device
	// Command is a command line that makes a challenge for the phone, shown while
	// there is none. Empty: nothing is shown.
	Command string
}

// Ask is what somebody asked for in the page.
type Ask struct {
	Identity, FactorSID string
	Message             string        // not empty
	Expires             time.Duration // above zero, from now
}

// Page is a running page. Its methods are safe for concurrent use.
type Page struct {
	cfg   Config
	book  *book
	token string // of this start; whoever changes something shows it
	start string // tells starts apart, so that an old page loads itself anew
	quit  chan struct{}
	lines chan struct{} // one for each stream of events

	mu      sync.Mutex
	server  *http.Server
	url     string
	closed  bool
	stop    context.CancelFunc
	working sync.WaitGroup

	asking  sync.RWMutex // held to read while a request is being sent
	drained bool         // no further request is taken
}

// New makes a Page that serves after Start. Errors are *Error with CodeConfig.
func New(cfg Config) (*Page, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	switch {
	case len(cfg.Phones) == 0:
		return nil, &Error{Code: CodeConfig, Message: "there is no phone to show"}
	case cfg.Created == nil:
		return nil, &Error{Code: CodeConfig, Message: "Created is required"}
	}
	for _, ph := range cfg.Phones {
		if ph.Identity == "" || ph.Device == nil {
			return nil, &Error{Code: CodeConfig, Message: "a phone needs an identity and a device"}
		}
	}
	return &Page{
		cfg: cfg, book: newBook(cfg), token: rand.Text(), start: rand.Text(),
		quit: make(chan struct{}), lines: make(chan struct{}, maxLines),
	}, nil
}

// readHeaderTimeout ends a connection that sends no request.
const readHeaderTimeout = 10 * time.Second

// Start listens, serves and lets the phones ring until Close, which must be
// called. When ctx ends, calls under way are given up. Errors are *Error with
// CodeListen or CodeState.
func (p *Page) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil || p.closed {
		return &Error{Code: CodeState, Message: "Start on a page that was started or closed"}
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", p.cfg.Addr)
	if err != nil {
		return &Error{Code: CodeListen, Message: "can't listen on " + p.cfg.Addr, Err: err}
	}
	ctx, p.stop = context.WithCancel(ctx)
	p.url = address(listener.Addr())
	p.server = &http.Server{
		Handler: p.Handler(), ReadHeaderTimeout: readHeaderTimeout,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	server := p.server
	p.working.Go(func() {
		// It always fails: with ErrServerClosed after Close. Anything else ends
		// serving, which the browser sees.
		_ = server.Serve(listener)
	})
	p.working.Go(func() { p.deliver(ctx) })
	for _, ph := range p.book.phones {
		p.working.Go(func() { p.attend(ctx, ph) })
	}
	return nil
}

// address is what to open in a browser on this machine.
func address(at net.Addr) string {
	tcp, ok := at.(*net.TCPAddr)
	if !ok {
		return "http://" + at.String() + "/"
	}
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(tcp.Port)) + "/"
}

// URL is where the page is, with a slash at its end; empty before Start.
func (p *Page) URL() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.url
}

// lastAnswers is how long an answer under way may take when the page closes.
const lastAnswers = time.Second

// Close stops serving. Answers under way have a second, or until ctx ends; then
// they are given up. It returns once every goroutine of the page has ended. A
// second Close does nothing. Errors are *Error with CodeClose.
func (p *Page) Close(ctx context.Context) error {
	p.mu.Lock()
	first, server, stop := !p.closed, p.server, p.stop
	p.closed = true
	p.mu.Unlock()
	if !first {
		return nil
	}
	close(p.quit)
	if server == nil {
		return nil
	}
	defer p.working.Wait()
	defer stop()
	grace, cancel := context.WithTimeout(ctx, lastAnswers)
	defer cancel()
	if server.Shutdown(grace) == nil {
		return nil
	}
	// A browser keeps connections in reserve, on which it has asked nothing yet:
	// that such a one is dropped is no failure.
	stop()
	if err := server.Close(); err != nil {
		return &Error{Code: CodeClose, Message: "the listener does not close", Err: err}
	}
	return nil
}

// Drain refuses what the form asks for from now on, and returns once every request
// that is being sent has its end: no more come then. Phones ring and answer as before.
func (p *Page) Drain() {
	p.asking.Lock()
	defer p.asking.Unlock()
	p.drained = true
}

// Answered is how many challenges were approved and denied in the page.
func (p *Page) Answered() (approved, denied int64) {
	p.book.mu.Lock()
	defer p.book.mu.Unlock()
	return p.book.approved, p.book.denied
}
