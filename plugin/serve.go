package plugin

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// logFlushBudget bounds the last write of log lines to a host that may be gone.
const logFlushBudget = time.Second

// handHint is shown to a person who starts the binary.
const handHint = `This is a Countersign plugin. It is not started by hand but by a host, which
checks it, configures it over an encrypted channel and drains it:

    countersign host --config FILE%s
`

// explain says how a host loads this binary. One that needs arguments to be a
// plugin is the countersign command, which a host takes as its own plugin.
func explain(w io.Writer, args []string) {
	load := ""
	if len(args) == 1 {
		load = " --plugin " + args[0] + " --sha256 DIGEST"
	}
	_, _ = fmt.Fprintf(w, handHint, load)
}

// ServeConfig says what a plugin process serves.
type ServeConfig struct {
	// New makes the Connector. The logger's lines reach the host; nothing else
	// that the process prints is sure to.
	New func(log *slog.Logger) Connector
	// LogLevel is the lowest level that is sent. nil: what the host wants, else
	// info.
	LogLevel slog.Leveler
}

// Serve turns the process into a plugin and ends it when the host is done with
// it, or gone, or ctx has ended: in the last two cases after a drain. It never
// returns. It must be the first statement of main, because nothing may be
// written to stdout before the handshake.
//
// The exit status is 0 where nothing was abandoned, else 1.
func Serve(ctx context.Context, cfg ServeConfig) {
	os.Exit(serve(ctx, cfg, os.Stderr, os.Getenv)) //nolint:revive // Serve is a plugin's main: it never returns
}

// serve wires one process: straight down, each guard beside its reason.
func serve(ctx context.Context, cfg ServeConfig, stderr *os.File, getenv func(string) string) int {
	if getenv(handshake.MagicCookieKey) != handshake.MagicCookieValue || getenv("PLUGIN_CLIENT_CERT") == "" {
		explain(stderr, os.Args)
		return 1
	}
	// Where the host is killed, our next log line would kill us too and take
	// the calls in flight along.
	signal.Ignore(syscall.SIGPIPE)
	// go-plugin replaces os.Stderr with a pipe that only it reads. Log lines go
	// to the original.
	pump := newLogPump(stderr)
	defer pump.close(logFlushBudget)
	level := cfg.LogLevel
	if level == nil {
		level = levelOf(getenv(logLevelEnv))
	}
	log := slog.New(newLogHandler(pump, level))

	ls := newLease()
	defer ls.close()
	if err := ls.inherit(getenv); err != nil {
		log.Error("cannot serve", "error", err)
		return 1
	}
	sess := newSession(context.WithoutCancel(ctx), cfg.New(log), log)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	var listening atomic.Bool
	servers := make(chan *grpc.Server, 1)
	served := make(chan struct{})
	left := make(chan error, 1)
	go func() {
		awaitEnd(ctx, ls, signals, log)
		grace, why := ls.terms()
		err := sess.leave(grace, why)
		select {
		case s := <-servers:
			s.Stop() // makes goplugin.Serve return, which removes the socket
		case <-served:
		}
		left <- err
	}()

	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: versioned(&grpcPlugin{server: &server{session: sess, lease: ls}}),
		Logger:           servingLog(pump),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			s := grpc.NewServer(opts...)
			listening.Store(true)
			servers <- s
			return s
		},
	})
	close(served)
	// The host has shut us down. If it did so without Drain or Stop there may
	// be work left; leave finishes what it can before the host's kill.
	ls.lose("the server ended")
	err := <-left
	removeSocketDir(getenv(goplugin.EnvUnixSocketDir))
	if err != nil {
		log.Error("left with work unfinished", "error", err)
	}
	if err != nil || !listening.Load() {
		return 1
	}
	return 0
}

// awaitEnd returns when this process is to leave. SIGINT and SIGTERM are the
// host's business while it is alive: a terminal or a service manager sends them
// to both of us at once, and the host answers with a Drain. To end a plugin
// alone, end its host. Without a live host they mean what they always mean.
func awaitEnd(ctx context.Context, ls *lease, signals <-chan os.Signal, log *slog.Logger) {
	for {
		select {
		case <-ls.gone:
			return
		case <-ctx.Done():
			return
		case sig := <-signals:
			if !ls.held() {
				log.Info("leaving", "signal", sig.String())
				return
			}
			log.Info("signal left to the host, which drains this plugin", "signal", sig.String())
		}
	}
}

// servingLog is go-plugin's own logger in the plugin: what goes wrong before
// the first call.
func servingLog(w io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: "go-plugin", Level: hclog.Warn, Output: w, JSONFormat: true})
}

func levelOf(text string) slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(text)); err != nil {
		return slog.LevelInfo
	}
	return l
}

// removeSocketDir removes the folder that the host made for our socket, which
// is empty by now. The host does so itself unless it was killed.
func removeSocketDir(dir string) {
	if dir != "" {
		_ = os.Remove(dir)
	}
}
