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
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kfake"
)

// ClusterID is what every embedded broker reports as its cluster id.
const ClusterID = "countersign-embedded"

// networkPort is where a broker in a virtual network listens. Free ports are
// the operating system's to give, and there is none.
const networkPort = 9092

// Config says what the broker starts with. The zero value is one broker in
// memory without topics.
type Config struct {
	// Topics exist after the start, with their number of partitions; zero: 10.
	// One that was loaded from DataDir stays as it is.
	Topics map[string]int32
	// Configs are the settings of Topics, by topic and name, such as
	// cleanup.policy. What is left out has Kafka's default.
	Configs map[string]map[string]string
	// DataDir keeps the logs and the groups' offsets across restarts. Empty:
	// in memory.
	DataDir string
	// Network keeps the broker off the network: only its DialContext reaches
	// it. Within a testing/synctest bubble it makes time virtual for both
	// sides. Nil: TCP on loopback.
	Network *kfake.VirtualNetwork
}

// Broker is a running embedded broker. It is safe for concurrent use.
type Broker struct {
	cluster *kfake.Cluster
	addrs   []string
}

// Start starts a broker. Close ends it.
func Start(cfg Config) (*Broker, error) {
	opts := []kfake.Opt{kfake.NumBrokers(1), kfake.ClusterID(ClusterID)}
	if cfg.Network != nil {
		opts = append(opts, kfake.ListenFn(cfg.Network.Listen), kfake.Ports(networkPort))
	}
	if cfg.DataDir != "" {
		opts = append(opts, kfake.DataDir(cfg.DataDir))
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	b := &Broker{cluster: cluster, addrs: cluster.ListenAddrs()}
	for _, topic := range slices.Sorted(maps.Keys(cfg.Topics)) {
		// kfake's own seeding leaves topics out once there is a DataDir.
		if cluster.TopicInfo(topic) != nil {
			continue
		}
		if err := cluster.CreateTopic(topic, cfg.Topics[topic], cfg.Configs[topic]); err != nil {
			cluster.Close()
			return nil, fmt.Errorf("embedded broker: topic %s: %w", topic, err)
		}
	}
	return b, nil
}

// Addrs are the bootstrap addresses, host:port.
func (b *Broker) Addrs() []string { return slices.Clone(b.addrs) }

// Cluster gives tests the fault injection of kfake.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

// Close ends the broker and every connection to it. A second call does
// nothing.
func (b *Broker) Close() { b.cluster.Close() }
