package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
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
}

// Client is one shared connection pool to a cluster. It is safe for concurrent
// use; Close it once nothing uses it any more.
type Client struct {
	brokers   []string
	addr      net.Addr
	transport *kafkago.Transport
	api       *kafkago.Client
	writer    *kafkago.Writer
	dialer    *kafkago.Dialer
}

const (
	requestTimeout = 10 * time.Second
	// A Writer waits this long for more messages before it sends a batch that
	// is not full. kafka-go's default of one second is paid by every call.
	batchTimeout = time.Millisecond
	batchSize    = 1000
	// MaxMessageBytes is the largest message that is sent: kafka-go and a
	// broker with default settings both refuse more than 1 MiB a batch.
	MaxMessageBytes = 1 << 20
)

// NewClient makes a client. It does not connect: a broker that is away shows
// at the first call.
func NewClient(cfg Config) (*Client, error) {
	if len(cfg.Brokers) == 0 {
		return nil, &Error{Code: CodeInvalid, Op: "new client", Err: errors.New("brokers: at least one host:port is needed")}
	}
	for _, b := range cfg.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return nil, &Error{Code: CodeInvalid, Op: "new client", Err: fmt.Errorf("brokers: %w", err)}
		}
	}
	dial := (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	transport := &kafkago.Transport{
		Dial:        dial,
		ClientID:    cfg.ClientID,
		MetadataTTL: time.Second, // a moved leader is found within a second
		IdleTimeout: time.Minute,
	}
	addr := kafkago.TCP(cfg.Brokers...)
	return &Client{
		brokers:   cfg.Brokers,
		addr:      addr,
		transport: transport,
		api:       &kafkago.Client{Addr: addr, Timeout: requestTimeout, Transport: transport},
		dialer:    &kafkago.Dialer{ClientID: cfg.ClientID, Timeout: requestTimeout, DialFunc: dial},
		writer: &kafkago.Writer{
			Addr:         addr,
			Balancer:     kafkago.Murmur2Balancer{},
			BatchTimeout: batchTimeout,
			BatchSize:    batchSize,
			BatchBytes:   MaxMessageBytes,
			RequiredAcks: kafkago.RequireAll,
			Transport:    transport,
		},
	}, nil
}

// Close sends what is buffered and gives the connections back. A second call
// does nothing.
func (c *Client) Close() error {
	err := c.writer.Close()
	// The Writer leaves a transport that it was given alone.
	c.transport.CloseIdleConnections()
	return wrap("close", err)
}

// Ping asks a broker for its metadata and returns the cluster id.
func (c *Client) Ping(ctx context.Context) (clusterID string, err error) {
	res, err := c.api.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{}})
	if err != nil {
		return "", wrap("ping", err)
	}
	return res.ClusterID, nil
}
