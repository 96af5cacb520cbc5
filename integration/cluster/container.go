package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
)

const (
	// defaultImage is the official image of the Apache Kafka that tests run.
	defaultImage = "apache/kafka:" + Version

	// pullTimeout is for an image of some 400 MB.
	pullTimeout   = 5 * time.Minute
	engineTimeout = 5 * time.Second
	// portTries bounds the race for a host port: it is free when it is chosen,
	// and bound when the engine starts the container.
	portTries = 3
)

func engineAnswers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	p, err := testcontainers.NewDockerProvider(testcontainers.WithLogger(tclog.NewNoopLogger()))
	if err == nil {
		_, err = p.Client().Ping(ctx, client.PingOptions{})
		err = errors.Join(err, p.Close())
	}
	if err != nil {
		return fmt.Errorf("%w: no Docker engine: %w", errAbsent, err)
	}
	return nil
}

// startContainer runs one broker of the image and returns when it has answered.
// The engine is one of this machine: the broker listens on loopback only. The
// error is errAbsent where there is no engine, or no image that nobody named.
func startContainer(ctx context.Context, image string) (addrs []string, stop func(context.Context) error, err error) {
	named := image != ""
	if !named {
		image = defaultImage
	}
	if err := engineAnswers(ctx); err != nil {
		return nil, nil, err
	}
	if err := fetchImage(ctx, image); err != nil {
		if !named {
			err = fmt.Errorf("%w: %w", errAbsent, err)
		}
		return nil, nil, err
	}
	var c *testcontainers.DockerContainer
	var addr string
	for range portTries {
		if addr, c, err = runBroker(ctx, image); err == nil {
			break
		}
	}
	if err != nil {
		return nil, nil, err
	}
	stop = func(ctx context.Context) error { return c.Terminate(ctx, testcontainers.StopTimeout(stopTimeout)) }
	if err := awaitBroker(ctx, c, addr); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", image, err), stop(context.WithoutCancel(ctx)))
	}
	return []string{addr}, stop, nil
}

// fetchImage makes sure that the engine has the image. It pulls once: where no
// registry answers, the next kind of broker is worth more than further tries.
func fetchImage(ctx context.Context, image string) (err error) {
	p, err := testcontainers.NewDockerProvider(testcontainers.WithLogger(tclog.NewNoopLogger()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if _, err := p.Client().ImageInspect(ctx, image); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	pull, err := p.Client().ImagePull(ctx, image, client.ImagePullOptions{})
	if err == nil {
		err = pull.Wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("the engine has no image %s and cannot pull it (docker pull it, build it with integration/image/build.sh, or name another with %s): %w", image, ImageEnv, err)
	}
	return nil
}

// runBroker starts the container. The broker tells its clients the address that
// they shall use, so the port on the host is chosen before the broker starts.
func runBroker(ctx context.Context, image string) (addr string, _ *testcontainers.DockerContainer, _ error) {
	ports, err := reservePorts(ctx, 1)
	if err != nil {
		return "", nil, err
	}
	port := strconv.Itoa(ports[0])
	addr = net.JoinHostPort("127.0.0.1", port)
	c, err := testcontainers.Run(ctx, image,
		testcontainers.WithLogger(tclog.NewNoopLogger()),
		testcontainers.WithExposedPorts("9094/tcp"),
		testcontainers.WithEnv(brokerEnv(addr)),
		testcontainers.WithHostConfigModifier(func(host *container.HostConfig) {
			host.PortBindings = network.PortMap{network.MustParsePort("9094/tcp"): []network.PortBinding{
				{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: port},
			}}
		}))
	if err != nil {
		err = fmt.Errorf("%s: %w", image, err)
		if c != nil {
			err = errors.Join(err, c.Terminate(context.WithoutCancel(ctx)))
		}
		return "", nil, err
	}
	return addr, c, nil
}

// brokerEnv is one KRaft node. Clients come in by EXTERNAL, at addr.
func brokerEnv(addr string) map[string]string {
	return map[string]string{
		"KAFKA_NODE_ID":                                  "1",
		"KAFKA_PROCESS_ROLES":                            "broker,controller",
		"KAFKA_CONTROLLER_QUORUM_VOTERS":                 "1@localhost:9093",
		"KAFKA_CONTROLLER_LISTENER_NAMES":                "CONTROLLER",
		"KAFKA_INTER_BROKER_LISTENER_NAME":               "INTERNAL",
		"KAFKA_LISTENERS":                                "INTERNAL://localhost:9092,CONTROLLER://localhost:9093,EXTERNAL://:9094",
		"KAFKA_ADVERTISED_LISTENERS":                     "INTERNAL://localhost:9092,EXTERNAL://" + addr,
		"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP":           "INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,EXTERNAL:PLAINTEXT",
		"KAFKA_LOG_DIRS":                                 "/var/lib/kafka/data",
		"KAFKA_AUTO_CREATE_TOPICS_ENABLE":                "false",
		"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR":         "1",
		"KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS":             "8",
		"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
		"KAFKA_TRANSACTION_STATE_LOG_MIN_ISR":            "1",
		"KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS":     "8",
		"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS":         "0",
		"KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS":             "1000", // tests of crashes wait for sessions to end
		"KAFKA_HEAP_OPTS":                                "-Xmx512m",
	}
}

// awaitBroker waits for an answer of the broker's own: the port alone is open
// as soon as the engine forwards it.
func awaitBroker(ctx context.Context, c *testcontainers.DockerContainer, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := ping(ctx, addr)
		if err == nil {
			return nil
		}
		if state, gone := c.State(ctx); gone == nil && !state.Running {
			return fmt.Errorf("the broker has ended with code %d:\n%s", state.ExitCode, lastLog(ctx, c))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w\n%s", context.Cause(ctx), err, lastLog(context.WithoutCancel(ctx), c))
		case <-tick.C:
		}
	}
}

// lastLog is the end of what the broker has written.
func lastLog(ctx context.Context, c *testcontainers.DockerContainer) string {
	const most = 4096
	logs, err := c.Logs(ctx)
	if err != nil {
		return err.Error()
	}
	all, err := io.ReadAll(logs)
	if err = errors.Join(err, logs.Close()); err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(all[max(0, len(all)-most):]))
}
