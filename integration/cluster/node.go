package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Node is one broker process of a JarsCluster.
type Node struct {
	cluster   *JarsCluster
	id        int
	dir       string
	listeners map[string]string

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
}

// logging keeps the brokers' own log at what a failing test wants to see.
const logging = `<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN"><Appenders><Console name="out" target="SYSTEM_OUT">
<PatternLayout pattern="[%d] %p %m (%c{1})%n"/></Console></Appenders>
<Loggers><Root level="INFO"><AppenderRef ref="out"/></Root></Loggers></Configuration>
`

func (n *Node) configure(names, voters []string) error {
	replicas := strconv.Itoa(min(3, len(voters)))
	minimum := strconv.Itoa(min(2, len(voters)))
	var listeners, advertised, protocols []string
	for _, name := range names {
		protocol := n.cluster.cfg.Listeners[name]
		if protocol == "" {
			protocol = "PLAINTEXT"
		}
		listeners = append(listeners, name+"://"+n.listeners[name])
		protocols = append(protocols, name+":"+protocol)
		if name != "CONTROLLER" {
			advertised = append(advertised, name+"://"+n.listeners[name])
		}
	}
	all := map[string]string{
		"process.roles":                            "broker,controller",
		"node.id":                                  strconv.Itoa(n.id + 1),
		"controller.quorum.voters":                 strings.Join(voters, ","),
		"controller.listener.names":                "CONTROLLER",
		"inter.broker.listener.name":               adminListener,
		"listeners":                                strings.Join(listeners, ","),
		"advertised.listeners":                     strings.Join(advertised, ","),
		"listener.security.protocol.map":           strings.Join(protocols, ","),
		"log.dirs":                                 filepath.Join(n.dir, "data"),
		"auto.create.topics.enable":                "false",
		"default.replication.factor":               replicas,
		"min.insync.replicas":                      minimum,
		"offsets.topic.replication.factor":         replicas,
		"offsets.topic.num.partitions":             "8",
		"transaction.state.log.replication.factor": replicas,
		"transaction.state.log.min.isr":            minimum,
		"transaction.state.log.num.partitions":     "8",
		"group.initial.rebalance.delay.ms":         "0",
		"group.min.session.timeout.ms":             "1000", // tests of crashes wait for sessions to end
	}
	maps.Copy(all, n.cluster.cfg.Properties)
	if err := os.MkdirAll(n.dir, 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(n.file("log4j2.xml"), []byte(logging), 0o600); err != nil {
		return err
	}
	return os.WriteFile(n.file("server.properties"), []byte(properties(all)), 0o600)
}

func (n *Node) file(name string) string { return filepath.Join(n.dir, name) }

// clusterID is 16 bytes in base64, as kafka-storage wants it.
const clusterID = "Y291bnRlcnNpZ24tdGVzdA"

func (n *Node) format(ctx context.Context) error {
	args := []string{"format", "-t", clusterID, "-c", n.file("server.properties")}
	for _, user := range n.cluster.cfg.ScramUsers {
		args = append(args, "--add-scram", user)
	}
	out, err := java(ctx, n.cluster.libs, n.cluster.cfg.JVM, "kafka.tools.StorageTool", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("format the storage of node %d: %w\n%s", n.id, err, out)
	}
	return nil
}

// ID is the broker's node.id.
func (n *Node) ID() int { return n.id + 1 }

// Addr is the address of its plain listener.
func (n *Node) Addr() string { return n.listeners[adminListener] }

// PID is its process, for who measures it; 0 while none runs.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// Properties is the path of its server.properties, which counts at the next Start.
func (n *Node) Properties() string { return n.file("server.properties") }

// Log is what the broker has written since it was first started.
func (n *Node) Log() string {
	b, err := os.ReadFile(n.file("out"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Start starts a broker that doesn't run and returns when it has answered and
// all its listeners accept.
func (n *Node) Start(ctx context.Context) error {
	if err := n.Launch(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := n.answers(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-n.exited:
			return fmt.Errorf("node %d has ended:\n%s", n.id, n.Log())
		case <-ctx.Done():
			return fmt.Errorf("node %d: %w: %w\n%s", n.id, context.Cause(ctx), err, n.Log())
		case <-tick.C:
		}
	}
}

// answers asks the plain listener and connects to the others, which the broker
// opens one after the other.
func (n *Node) answers(ctx context.Context) error {
	if err := ping(ctx, n.Addr()); err != nil {
		return err
	}
	for name, addr := range n.listeners {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("listener %s: %w", name, err)
		}
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Launch starts a broker that doesn't run and does not wait for it.
func (n *Node) Launch(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		return fmt.Errorf("node %d runs", n.id)
	}
	out, err := os.OpenFile(n.file("out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	jvm := append([]string{"-Dlog4j2.configurationFile=" + n.file("log4j2.xml")}, n.cluster.cfg.JVM...)
	// Its end is Kill's or Stop's, not the caller's context's.
	cmd := java(context.WithoutCancel(ctx), n.cluster.libs, jvm, "kafka.Kafka", n.file("server.properties"))
	cmd.Stdout, cmd.Stderr = out, out
	// A test binary that is killed leaves no broker behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("node %d: %w", n.id, err)
	}
	n.cmd, n.exited = cmd, make(chan struct{})
	go func(exited chan struct{}) { defer close(exited); _ = cmd.Wait() }(n.exited)
	return nil
}

// Kill ends the process at once. It does nothing where none runs.
func (n *Node) Kill() error { return n.end(syscall.SIGKILL) }

// Stop is the orderly shutdown: leaders move first.
func (n *Node) Stop() error { return n.end(syscall.SIGTERM) }

func (n *Node) end(signal syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return nil
	}
	err := n.cmd.Process.Signal(signal)
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-n.exited:
	case <-timer.C:
		err = errors.Join(err, fmt.Errorf("node %d did not end in %v", n.id, stopTimeout), n.cmd.Process.Kill())
		<-n.exited
	}
	n.cmd = nil
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Pause stops the process where it is: its connections stay and nothing answers.
func (n *Node) Pause() error { return n.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (n *Node) Resume() error { return n.signal(syscall.SIGCONT) }

func (n *Node) signal(s syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return fmt.Errorf("node %d does not run", n.id)
	}
	return n.cmd.Process.Signal(s)
}
