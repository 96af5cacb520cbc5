// Package broker is an embedded broker that speaks the Kafka protocol, for the
// demo and for tests. It wraps franz-go's kfake: no JVM, no container, no
// files unless DataDir is set.
//
// It listens on loopback only, on a free port, so that it can never be taken
// for a real cluster. It is faithful in protocol, not in timing: a commit that
// takes milliseconds on Apache Kafka takes microseconds here.
package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"
)

// ClusterID is what every embedded broker reports as its cluster id.
const ClusterID = "countersign-embedded"

// Config says what the broker starts with. The zero value is one broker in
// memory without topics.
type Config struct {
	// Topics are made at start, with their number of partitions.
	Topics map[string]int32
	// DataDir keeps the logs across restarts. Empty: in memory.
	DataDir string
}

// Broker is a running embedded broker.
type Broker struct {
	cluster *kfake.Cluster
}

// Start starts a broker. Close ends it.
func Start(cfg Config) (*Broker, error) {
	opts := []kfake.Opt{kfake.NumBrokers(1), kfake.ClusterID(ClusterID)}
	for topic, partitions := range cfg.Topics {
		opts = append(opts, kfake.SeedTopics(partitions, topic))
	}
	if cfg.DataDir != "" {
		opts = append(opts, kfake.DataDir(cfg.DataDir))
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	return &Broker{cluster: cluster}, nil
}

// Addrs are the bootstrap addresses, host:port.
func (b *Broker) Addrs() []string { return b.cluster.ListenAddrs() }

// Cluster gives tests the fault injection of kfake.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

// Close ends the broker and every connection to it.
func (b *Broker) Close() { b.cluster.Close() }
