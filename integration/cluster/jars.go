package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// LibsEnv names the folder with the jars of Apache Kafka. Empty: where
	// integration/jars/fetch.sh puts those of Version.
	LibsEnv = "KAFKA_LIBS"
	// Version is the Apache Kafka that tests run.
	Version = "4.2.0"

	startTimeout = 5 * time.Minute
	stopTimeout  = 60 * time.Second
	pollEvery    = 100 * time.Millisecond
	// adminListener is plain and for the cluster's own talk and its tests. What
	// a cluster refuses, it refuses at listeners of its config.
	adminListener = "PLAINTEXT"
)

// JarsConfig describes a cluster of Apache Kafka from jars. The zero value is
// one broker without access control.
type JarsConfig struct {
	// Brokers is their number; each is a controller too. Zero: 1.
	Brokers int
	// Properties are added to each broker's server.properties, over the defaults.
	Properties map[string]string
	// Listeners are further ones on loopback: name to security protocol, as in
	// "SECURE": "SASL_SSL". AddrsOf says where they are.
	Listeners map[string]string
	// JVM replaces the Java options. Empty: 512 MB of heap.
	JVM []string
	// ScramUsers exist from the start: arguments of kafka-storage's --add-scram.
	ScramUsers []string
	// Dir keeps logs and configuration; empty: a temporary folder that Close removes.
	Dir string
}

// JarsCluster is a running cluster. Its nodes count from 0. It is safe for
// concurrent use, one call at a time for each node.
type JarsCluster struct {
	cfg   JarsConfig
	libs  string
	dir   string
	nodes []*Node
}

// StartJars formats the storage of a new cluster, starts its brokers and
// returns when each has answered and all its listeners accept.
func StartJars(ctx context.Context, cfg JarsConfig) (*JarsCluster, error) {
	libs, err := findLibs()
	if err != nil {
		return nil, err
	}
	if cfg.Brokers == 0 {
		cfg.Brokers = 1
	}
	if len(cfg.JVM) == 0 {
		cfg.JVM = []string{"-Xmx512m", "-XX:+UseSerialGC"}
	}
	c := &JarsCluster{cfg: cfg, libs: libs, dir: cfg.Dir}
	if c.dir == "" {
		if c.dir, err = os.MkdirTemp("", "countersign-kafka-"); err != nil {
			return nil, err
		}
	}
	if err := c.layOut(ctx); err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	starts := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() {
			if starts[i] = n.format(ctx); starts[i] == nil {
				starts[i] = n.Start(ctx)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(starts...); err != nil {
		return nil, errors.Join(err, c.Close(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func findLibs() (string, error) {
	libs := os.Getenv(LibsEnv)
	if libs == "" {
		_, here, _, _ := runtime.Caller(0)
		libs = filepath.Join(filepath.Dir(here), "..", "..", ".bin", "kafka-"+Version, "libs")
	}
	if _, err := os.Stat(libs); err != nil {
		return "", fmt.Errorf("%w: no jars of Apache Kafka: run integration/jars/fetch.sh, or set %s", errAbsent, LibsEnv)
	}
	if _, err := exec.LookPath("java"); err != nil {
		return "", fmt.Errorf("%w: %w", errAbsent, err)
	}
	return filepath.Clean(libs), nil
}

// layOut writes every node's configuration. Its ports stay a node's over its
// restarts.
func (c *JarsCluster) layOut(ctx context.Context) error {
	names := []string{adminListener, "CONTROLLER"}
	for name := range c.cfg.Listeners {
		names = append(names, name)
	}
	slices.Sort(names[2:])
	ports, err := reservePorts(ctx, len(names)*c.cfg.Brokers)
	if err != nil {
		return err
	}
	var voters []string
	for i := range c.cfg.Brokers {
		n := &Node{cluster: c, id: i, dir: filepath.Join(c.dir, fmt.Sprintf("node-%d", i)), listeners: map[string]string{}}
		for j, name := range names {
			n.listeners[name] = fmt.Sprintf("127.0.0.1:%d", ports[i*len(names)+j])
		}
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, n.listeners["CONTROLLER"]))
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		if err := n.configure(names, voters); err != nil {
			return err
		}
	}
	return nil
}

// Addrs are the bootstrap addresses of all nodes.
func (c *JarsCluster) Addrs() []string { return c.AddrsOf(adminListener) }

// AddrsOf are the addresses of a listener of JarsConfig.Listeners.
func (c *JarsCluster) AddrsOf(listener string) []string {
	var out []string
	for _, n := range c.nodes {
		out = append(out, n.listeners[listener])
	}
	return out
}

// Libs is the folder with the jars: a class path is Libs()+"/*".
func (c *JarsCluster) Libs() string { return c.libs }

// Node is the i-th broker, from 0; its node.id is i+1.
func (c *JarsCluster) Node(i int) *Node { return c.nodes[i] }

// Nodes are all brokers.
func (c *JarsCluster) Nodes() []*Node { return slices.Clone(c.nodes) }

// Close kills the brokers and removes a temporary folder. Nothing of a test's
// cluster is worth an orderly shutdown; Node.Stop is one.
func (c *JarsCluster) Close(context.Context) error {
	var all []error
	for _, n := range c.nodes {
		all = append(all, n.Kill())
	}
	if c.cfg.Dir == "" {
		all = append(all, os.RemoveAll(c.dir))
	}
	return errors.Join(all...)
}

// Java is a command that runs a class of the jars, such as a console tool.
func (c *JarsCluster) Java(ctx context.Context, class string, args ...string) *exec.Cmd {
	// What a tool prints is read: nothing is logged into it.
	return java(ctx, c.libs, append(slices.Clone(c.cfg.JVM), "-Dlog4j2.level=OFF"), class, args...)
}

func java(ctx context.Context, libs string, jvm []string, class string, args ...string) *exec.Cmd {
	all := append(slices.Clone(jvm), "-cp", filepath.Join(libs, "*"), class)
	return exec.CommandContext(ctx, "java", append(all, args...)...) //nolint:gosec // the test's own arguments
}

func properties(all map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s=%s\n", name, all[name])
	}
	return b.String()
}
