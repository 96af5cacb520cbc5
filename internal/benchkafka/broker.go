package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// kafkaBroker is one Apache Kafka with KRaft, in a process of its own.
type kafkaBroker struct {
	addr string
	cmd  *exec.Cmd
	dir  string
}

const brokerProperties = `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%[2]d
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[1]d
controller.listener.names=CONTROLLER
log.dirs=%[3]s
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
`

func startBroker(ctx context.Context, jars string) (*kafkaBroker, error) {
	dir, err := os.MkdirTemp("", "benchkafka-")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(ctx, 2)
	if err != nil {
		return nil, err
	}
	b := &kafkaBroker{addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])), dir: dir}
	properties := filepath.Join(dir, "server.properties")
	text := fmt.Sprintf(brokerProperties, ports[0], ports[1], filepath.Join(dir, "data"))
	if err := os.WriteFile(properties, []byte(text), 0o600); err != nil {
		return nil, err
	}
	classes := filepath.Join(jars, "*")
	format := exec.CommandContext(ctx, "java", //nolint:gosec // the jars are the caller's
		"-cp", classes, "kafka.tools.StorageTool", "format",
		"-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", properties)
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format the broker's storage: %w: %s", err, out)
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return nil, err
	}
	b.cmd = exec.CommandContext(ctx, "java", "-Xmx1g", "-Xms1g", "-cp", classes, "kafka.Kafka", properties) //nolint:gosec // as above
	b.cmd.Stdout, b.cmd.Stderr = log, log
	b.cmd.Cancel = func() error { return b.cmd.Process.Signal(os.Interrupt) }
	b.cmd.WaitDelay = 30 * time.Second
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	return b, b.await(ctx)
}

func freePorts(ctx context.Context, n int) ([]int, error) {
	out := make([]int, n)
	for i := range out {
		var config net.ListenConfig
		l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // only its number was wanted
		out[i] = l.Addr().(*net.TCPAddr).Port
	}
	return out, nil
}

func (b *kafkaBroker) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client := &kafkago.Client{Addr: kafkago.TCP(b.addr), Transport: &kafkago.Transport{}}
	for {
		res, err := client.Metadata(ctx, &kafkago.MetadataRequest{})
		if err == nil && len(res.Brokers) > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("the broker does not answer"), err, b.close())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// cpu is what the broker has needed so far.
func (b *kafkaBroker) cpu() time.Duration {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(b.cmd.Process.Pid), "stat"))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Go runs on Linux
	return time.Duration(user+system) * tick
}

func (b *kafkaBroker) close() error {
	_ = b.cmd.Process.Signal(os.Interrupt) // it may have gone already
	err := b.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 130 { // by the interrupt
		err = nil
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}
