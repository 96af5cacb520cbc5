package plugin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin"
	"github.com/countersign/countersign/plugin/plugintest"
)

// reporter is a process's end of the connection to the observer.
type reporter struct {
	mu   sync.Mutex
	conn net.Conn
}

func dialObserver() *reporter {
	conn, err := net.Dial("unix", os.Getenv(observerEnv))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	r := &reporter{conn: conn}
	r.say(message{Event: "hello", N: os.Getpid()})
	return r
}

func (r *reporter) say(m message) {
	line, _ := json.Marshal(m)
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = r.conn.Write(append(line, '\n'))
}

// scripted is the Connector of the plugin processes: a Fake that reports what
// is asked of it.
type scripted struct {
	*plugintest.Fake
	report *reporter
	stderr *os.File // the original
	log    *slog.Logger

	mu      sync.Mutex
	secrets map[string]string
}

// servePlugin is mode "plugin".
func servePlugin() {
	s := &scripted{Fake: &plugintest.Fake{}, report: dialObserver(), stderr: os.Stderr}
	s.Judge = judge
	s.OnCall = func(call string) error {
		s.report.say(message{Event: "call:" + call})
		return nil
	}
	plugin.Serve(context.Background(), plugin.ServeConfig{New: func(log *slog.Logger) plugin.Connector {
		s.log = log
		go s.obey()
		return s
	}})
}

// judge finds fault with a document that says "bad".
func judge(doc []byte, secrets map[string]string) []connector.Violation {
	var faults []connector.Violation
	if string(doc) == "bad" {
		faults = append(faults, connector.Violation{Path: "a.b", Message: "is bad"}, connector.Violation{Path: "c", Message: "too"})
	}
	if string(doc) == "needs a secret" && secrets["env:TOKEN"] == "" {
		faults = append(faults, connector.Violation{Path: "token", Message: "there is no env:TOKEN"})
	}
	return faults
}

func (s *scripted) Configure(ctx context.Context, doc []byte, secrets map[string]string) error {
	s.mu.Lock()
	s.secrets = secrets
	s.mu.Unlock()
	return s.Fake.Configure(ctx, doc, secrets)
}

func (s *scripted) Drain(ctx context.Context, progress func(plugin.Progress)) error {
	err := s.Fake.Drain(ctx, progress)
	s.report.say(message{Event: "drained", Text: string(plugin.CodeOf(err))})
	return err
}

// obey runs the observer's commands and answers each.
func (s *scripted) obey() {
	in := bufio.NewReader(s.report.conn)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(line, &m) == nil {
			s.report.say(s.run(m))
		}
	}
}

func (s *scripted) run(m message) message {
	answer := message{Event: "done:" + m.Event}
	switch m.Event {
	case "add":
		s.Add(m.N)
	case "fail":
		s.Fail(&plugin.Error{Code: plugin.Code(m.Text), Message: "told to fail"})
	case "crash":
		os.Exit(3)
	case "block": // Status does not return any more: the engine is stuck
		go s.Set(func(*connector.Status) { select {} })
	case "log":
		s.log.Info(m.Text, "n", m.N, "@message", 1) //nolint:sloglint // the observer decides what is logged
	case "raw": // straight to the original stderr, past every queue
		_, _ = s.stderr.WriteString(m.Text)
	case "print": // where a library prints to
		fmt.Fprintln(os.Stdout, m.Text)
		fmt.Fprintln(os.Stderr, m.Text)
	case "environ":
		answer.List = os.Environ()
	case "secrets":
		s.mu.Lock()
		answer.Text = s.secrets["env:TOKEN"]
		s.mu.Unlock()
	case "grandchild":
		self, _ := os.Executable()
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), modeEnv+"=holder")
		cmd.Stdout, cmd.Stderr = s.stderr, s.stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			answer.Text = err.Error()
		}
	}
	return answer
}

// holdPipes is mode "holder": it lives until the observer lets go of it.
func holdPipes() {
	_, _ = io.Copy(io.Discard, dialObserver().conn)
}

// runHost is mode "host". Its exit status is 0 where nothing was abandoned.
func runHost() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	sum, err := plugin.SHA256File(self)
	if err != nil {
		panic(err)
	}
	err = plugin.Run(ctx, plugin.Spec{
		Path:    self,
		SHA256:  sum,
		Env:     []string{modeEnv + "=plugin", observerEnv + "=" + os.Getenv(observerEnv), promptExit},
		TempDir: os.Getenv(tempEnv),
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveVersion is mode "version": a plugin of protocol version 9.
func serveVersion() {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  plugin.Handshake(),
		VersionedPlugins: map[int]goplugin.PluginSet{9: {"connector": nobody{}}},
		GRPCServer:       goplugin.DefaultGRPCServer,
	})
}

type nobody struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (nobody) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error { return nil }

func (nobody) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("there is nothing here")
}

// printNoise is mode "noise".
func printNoise() { fmt.Println("Welcome! This is an ordinary program.") }
