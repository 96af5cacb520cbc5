package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/broker"
)

// Kind says what a broker is.
type Kind string

// The kinds, in the order in which Auto tries them.
const (
	Named     Kind = "named"     // the cluster that KAFKA_BROKERS names
	Container Kind = "container" // Apache Kafka in a container, by testcontainers-go
	Jars      Kind = "jars"      // Apache Kafka in a process of its own, from its jars
	Embedded  Kind = "embedded"  // kfake, in this process

	// Auto is the first of the others that can be had.
	Auto Kind = "auto"
)

// The environment that decides.
const (
	// KindEnv names the Kind. Empty: Embedded, so that plain go test needs nothing,
	// downloads nothing and writes to nobody's cluster.
	KindEnv = "INTEGRATION_BROKER"
	// BrokersEnv lists the Named cluster's bootstrap addresses, separated by commas.
	BrokersEnv = "KAFKA_BROKERS"
	// ImageEnv names the Container's image. Empty: the official one of Version.
	ImageEnv = "COUNTERSIGN_KAFKA_IMAGE"
)

// Broker is a cluster that somebody has picked.
type Broker struct {
	Kind  Kind
	About string   // what it is, for a log
	Addrs []string // bootstrap addresses, host:port

	stop func(context.Context) error
}

// Close ends what Pick has started. A named cluster goes on.
func (b *Broker) Close(ctx context.Context) error {
	if b.stop == nil {
		return nil
	}
	return b.stop(ctx)
}

// Pick returns the cluster that the environment asks for, started and ready.
func Pick(ctx context.Context) (*Broker, error) {
	kind := Kind(os.Getenv(KindEnv))
	if kind == "" {
		kind = Embedded
	}
	if kind != Auto {
		return start(ctx, kind)
	}
	return auto(ctx, start)
}

// auto is the first kind that can be had, and says why it is not an earlier one.
func auto(ctx context.Context, start func(context.Context, Kind) (*Broker, error)) (*Broker, error) {
	var all []error
	for _, kind := range []Kind{Named, Container, Jars, Embedded} {
		b, err := start(ctx, kind)
		if err == nil {
			if len(all) > 0 {
				b.About += fmt.Sprintf(" (%v)", errors.Join(all...))
			}
			return b, nil
		}
		all = append(all, err)
		// What was asked for by name and fails is no reason to take something else.
		if !errors.Is(err, errAbsent) {
			return nil, err
		}
	}
	return nil, errors.Join(all...)
}

// errAbsent says that a kind cannot be had here, as opposed to one that failed.
var errAbsent = errors.New("not here")

func start(ctx context.Context, kind Kind) (*Broker, error) {
	switch kind {
	case Named:
		list := os.Getenv(BrokersEnv)
		if list == "" {
			return nil, fmt.Errorf("%s: %w: %s is empty", kind, errAbsent, BrokersEnv)
		}
		addrs := strings.Split(list, ",")
		if err := ping(ctx, addrs...); err != nil {
			return nil, fmt.Errorf("%s: %s=%s: %w", kind, BrokersEnv, list, err)
		}
		return &Broker{Kind: kind, About: "the cluster at " + list, Addrs: addrs}, nil
	case Container:
		image := os.Getenv(ImageEnv)
		addrs, stop, err := startContainer(ctx, image)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		return &Broker{Kind: kind, About: "Apache Kafka in a container of " + cmp.Or(image, defaultImage), Addrs: addrs, stop: stop}, nil
	case Jars:
		c, err := StartJars(ctx, JarsConfig{})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		return &Broker{Kind: kind, About: "Apache Kafka from " + c.Libs(), Addrs: c.Addrs(), stop: c.Close}, nil
	case Embedded:
		b, err := broker.Start(broker.Config{})
		if err != nil {
			return nil, err
		}
		stop := func(context.Context) error { b.Close(); return nil }
		return &Broker{Kind: kind, About: "the embedded broker (kfake)", Addrs: b.Addrs(), stop: stop}, nil
	case Auto:
	}
	return nil, fmt.Errorf("%s=%s: want one of %s, %s, %s, %s, %s", KindEnv, kind, Auto, Named, Container, Jars, Embedded)
}

// ping asks brokers for a sign of life.
func ping(ctx context.Context, addrs ...string) error {
	client, err := kafka.NewClient(kafka.Config{Brokers: addrs, ClientID: "cluster"})
	if err != nil {
		return err
	}
	_, err = client.Ping(ctx)
	return errors.Join(err, client.Close())
}
