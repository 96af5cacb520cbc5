package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	// The codecs register themselves in kafka-go's table; without them a
	// compressed batch cannot be read.
	_ "github.com/segmentio/kafka-go/gzip"
	_ "github.com/segmentio/kafka-go/lz4"
	_ "github.com/segmentio/kafka-go/snappy"
	_ "github.com/segmentio/kafka-go/zstd"
)

// Config says which cluster to talk to.
type Config struct {
	Brokers  []string // host:port, at least one
	ClientID string   // shown in the brokers' logs and quotas; may be empty
	// Dial opens connections; nil: TCP. The addresses are Brokers' and those
	// that the brokers advertise.
	Dial DialFunc
	TLS  TLS  // of every connection; zero: none
	SASL SASL // of every connection; zero: none
	// Logger tells, once each, that a broker refuses the client, that it accepts
	// it again, and that credentials have changed. Nil: silent.
	Logger *slog.Logger
}

// DialFunc is net.Dialer's DialContext.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Client is one shared connection pool to a cluster. It is safe for concurrent
// use; Close it once nothing uses it any more.
type Client struct {
	brokers  []string
	clientID string
	user     string // of SASL, for messages
	addr     net.Addr
	link     *link
	api      *kafkago.Client
	writer   *kafkago.Writer
}

const (
	requestTimeout = 10 * time.Second
	dialTimeout    = 3 * time.Second
	// The cluster's layout is asked for again once a second on average, at
	// random between zero and this; kafka-go gives up an answer to that which
	// takes as long. A moved leader is found within this time.
	metadataTTL = 2 * time.Second
	// A Writer waits this long for more messages before it sends a batch that
	// is not full. kafka-go's default of one second is paid by every call.
	batchTimeout = time.Millisecond
	batchSize    = 1000
	// A Writer that gives up early returns the decision to its caller, who
	// knows whether the partition is still its own. Five attempts outlast a
	// moved leader.
	writeAttempts = 5
	// MaxMessageBytes is the largest message that is sent: kafka-go and a
	// broker with default settings both refuse more than 1 MiB a batch.
	MaxMessageBytes = 1 << 20
)

// NewClient makes a client. It does not connect: a broker that is away, or
// that refuses the client, shows at the first call. It reads the files that
// TLS and SASL name, and returns CodeInvalid where one cannot be used.
func NewClient(cfg Config) (*Client, error) {
	if len(cfg.Brokers) == 0 {
		return nil, &Error{Code: CodeInvalid, Op: "new client", Err: errors.New("brokers: at least one host:port is needed")}
	}
	for _, b := range cfg.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return nil, &Error{Code: CodeInvalid, Op: "new client", Err: fmt.Errorf("brokers: %w", err)}
		}
	}
	secure, err := newSecurity(cfg)
	if err != nil {
		return nil, &Error{Code: CodeInvalid, Op: "new client", Err: err}
	}
	c := &Client{brokers: slices.Clone(cfg.Brokers), clientID: cfg.ClientID, user: cfg.SASL.Username, addr: kafkago.TCP(cfg.Brokers...)}
	c.link = newLink(secure.dial, func(dial DialFunc) *kafkago.Transport { return c.transport(dial, metadataTTL) })
	c.api = &kafkago.Client{Addr: c.addr, Timeout: requestTimeout, Transport: c.link}
	c.writer = &kafkago.Writer{
		Addr:         c.addr,
		Balancer:     kafkago.BalancerFunc(balancer),
		MaxAttempts:  writeAttempts,
		BatchTimeout: batchTimeout,
		BatchSize:    batchSize,
		BatchBytes:   MaxMessageBytes,
		RequiredAcks: kafkago.RequireAll,
		Transport:    c.link,
	}
	return c, nil
}

func (c *Client) transport(dial DialFunc, ttl time.Duration, topics ...string) *kafkago.Transport {
	return &kafkago.Transport{
		Dial: dial, DialTimeout: requestTimeout, ClientID: c.clientID, MetadataTTL: ttl, MetadataTopics: topics, IdleTimeout: time.Minute,
	}
}

// Close gives the connections back. Calls that are still under way fail with
// CodeCanceled, and so does every later one. A second call does nothing.
func (c *Client) Close() error {
	// The link first: a Writer's Close waits for what callers have given up
	// on, and would wait long where the brokers are away.
	c.link.close()
	if err := c.writer.Close(); err != nil {
		return &Error{Code: CodeUnavailable, Op: "close", Err: err}
	}
	return nil
}

// Ping asks a broker for an answer and returns the cluster id.
func (c *Client) Ping(ctx context.Context) (clusterID string, err error) {
	// The layout, and the id with it, comes from kafka-go's cache, so it alone
	// would not show that the brokers have gone.
	versions, err := c.api.ApiVersions(ctx, &kafkago.ApiVersionsRequest{})
	if err != nil {
		return "", wrap(ctx, "ping", err)
	}
	if versions.Error != nil {
		return "", wrap(ctx, "ping", versions.Error)
	}
	res, err := c.api.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{}})
	if err != nil {
		return "", wrap(ctx, "ping", err)
	}
	return res.ClusterID, nil
}
