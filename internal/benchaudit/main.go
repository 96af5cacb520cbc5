// Command benchaudit measures an audit of many request and result pairs on Apache
// Kafka, and a replay's check of them, beside a bare read of the same topics with
// kafka-go in the same run.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/integration/cluster"
)

const (
	requestsTopic    = "challenge.requests"
	resultsTopic     = "challenge.results"
	deadLettersTopic = "challenge.deadletters"
	group            = "countersign"
)

type options struct {
	pairs      int
	partitions int
	rounds     int
	binary     string
}

func main() {
	var o options
	flag.IntVar(&o.pairs, "pairs", 100_000, "requests, each with its result")
	flag.IntVar(&o.partitions, "partitions", 8, "of the requests and of the results")
	flag.IntVar(&o.rounds, "rounds", 1, "bare reads and audits, in turn")
	flag.StringVar(&o.binary, "binary", ".bin/countersign", "program to audit with")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchaudit:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.pairs < 1 || o.partitions < 1 || o.rounds < 1 {
		return errors.New("pairs, partitions and rounds must be positive")
	}
	brokers, err := cluster.StartJars(ctx, cluster.JarsConfig{Brokers: 1, JVM: []string{"-Xmx1g"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, brokers.Close(context.WithoutCancel(ctx))) }()
	addrs := brokers.Addrs()
	client, err := kafka.NewClient(kafka.Config{Brokers: addrs})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	kept := map[string]string{"retention.ms": "-1"} // the timestamps are of a day long ago
	err = client.EnsureTopics(ctx, []kafka.TopicSpec{
		{Name: requestsTopic, Partitions: o.partitions, Configs: kept},
		{Name: resultsTopic, Partitions: o.partitions, Configs: kept},
		{Name: deadLettersTopic, Partitions: 1, Configs: kept},
	})
	if err != nil {
		return err
	}
	began := time.Now()
	bytes, err := fill(ctx, addrs, o)
	if err != nil {
		return err
	}
	fmt.Printf("wrote %d pairs, %d bytes of values, in %v\n", o.pairs, bytes, time.Since(began).Round(time.Second))
	for round := 1; round <= o.rounds; round++ {
		if err := measure(ctx, addrs, o, round); err != nil {
			return err
		}
	}
	return nil
}

func measure(ctx context.Context, addrs []string, o options, round int) error {
	began := time.Now()
	n, err := bareRead(ctx, addrs, o)
	if err != nil {
		return err
	}
	bare := time.Since(began)
	if n != int64(2*o.pairs) {
		return fmt.Errorf("the bare read found %d records of %d", n, 2*o.pairs)
	}
	dir, err := os.MkdirTemp("", "benchaudit-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	fmt.Printf("round %d: bare read %.1f s (%.0f records/s)\n", round, bare.Seconds(), float64(n)/bare.Seconds())
	from := "--brokers=" + strings.Join(addrs, ",")
	for name, args := range map[string][]string{
		"audit":          {"audit", from, "--json", filepath.Join(dir, "report.json"), "--state", filepath.Join(dir, "state")},
		"replay --check": {"replay", "--check", from},
	} {
		took, used, err := timed(ctx, o.binary, args...)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Printf("round %d: %s %.1f s (%.0f records/s), ratio %.2f; at most %d MiB resident, %.1f s of CPU\n",
			round, name, took.Seconds(), float64(n)/took.Seconds(), bare.Seconds()/took.Seconds(), used.Maxrss>>10, cpuOf(used).Seconds())
	}
	return nil
}

// timed runs a command and says what it took.
func timed(ctx context.Context, binary string, args ...string) (time.Duration, *syscall.Rusage, error) {
	cmd := exec.CommandContext(ctx, binary, args...) //nolint:gosec // the binary is the one that the caller names
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, nil, err
	}
	took := time.Since(began)
	used, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, nil, errors.New("the system does not tell what was used")
	}
	return took, used, nil
}

func cpuOf(used *syscall.Rusage) time.Duration {
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// bareRead reads everything that the audit reads, every partition by a reader of
// its own, and does nothing with it.
func bareRead(ctx context.Context, addrs []string, o options) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var n atomic.Int64
	var readers sync.WaitGroup
	for _, topic := range []string{requestsTopic, resultsTopic} {
		for p := range o.partitions {
			readers.Go(func() {
				if err := bareReadOne(ctx, addrs, topic, p, &n); err != nil {
					cancel(err)
				}
			})
		}
	}
	readers.Wait()
	return n.Load(), context.Cause(ctx)
}

func bareReadOne(ctx context.Context, addrs []string, topic string, partition int, n *atomic.Int64) (err error) {
	conn, err := kafkago.DialLeader(ctx, "tcp", addrs[0], topic, partition)
	if err != nil {
		return err
	}
	end, err := conn.ReadLastOffset()
	if err = errors.Join(err, conn.Close()); err != nil || end == 0 {
		return err
	}
	r := kafkago.NewReader(kafkago.ReaderConfig{
		Brokers: addrs, Topic: topic, Partition: partition, MinBytes: 1, MaxBytes: 1 << 20, IsolationLevel: kafkago.ReadCommitted,
		MaxWait: 250 * time.Millisecond, // Close waits for a fetch under way, and that one for records
	})
	defer func() { err = cmp.Or(err, r.Close()) }()
	for {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			return err
		}
		n.Add(1)
		if m.Offset >= end-1 {
			return nil
		}
	}
}
