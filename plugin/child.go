package plugin

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
)

// child is one start of the plugin, from the fork to the last trace of it. It
// has one owner, who calls launch, then bringUp, drain and whatever else, and
// end in every case.
type child struct {
	spec   Spec
	client *goplugin.Client
	remote *remote
	proc   *process
	dir    string // of the socket; made by go-plugin

	closeStreams context.CancelFunc // Lease and Watch; nil before bringUp
	watcher      *watcher           // nil before bringUp
	leaseLost    <-chan struct{}    // nil before bringUp
	unresponsive bool               // nothing may be asked of it any more

	printed  []io.Closer // what takes the plugin's late prints
	printers sync.WaitGroup
}

// launch checks the binary, starts it and shakes hands. When ctx ends first the
// process is killed. After an error nothing is left.
func launch(ctx context.Context, spec Spec) (*child, error) {
	if err := spec.verify(); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(spec.Path)
	if err != nil {
		return nil, &Error{Code: CodeHandshake, Err: err}
	}
	lines := &lineLogger{log: spec.Logger}
	proc, err := newProcess(path, spec.Args, lines)
	if err != nil {
		return nil, &Error{Code: CodeHandshake, Message: "no pipes for the plugin", Err: err}
	}
	c := &child{spec: spec, proc: proc}
	c.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: versioned(&grpcPlugin{}),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     spec.StartTimeout,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: spec.TempDir},
		Logger:           silent(),
		SyncStdout:       c.printer(ctx, lines, "stdout"),
		SyncStderr:       c.printer(ctx, lines, "stderr"),
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
			c.dir = dir
			proc.setEnv(spec.Env, cmd.Env, []string{logLevelEnv + "=" + levelWanted(ctx, spec.Logger)})
			return proc, nil
		},
	})
	stop := context.AfterFunc(ctx, proc.kill)
	err = c.connect()
	if !stop() || err != nil {
		err = c.startError(ctx, err)
		c.unresponsive = true
		c.end(ctx)
		return nil, err
	}
	return c, nil
}

func (c *child) connect() error {
	protocol, err := c.client.Client()
	if err != nil {
		return err
	}
	service, err := protocol.Dispense(serviceName)
	if err != nil {
		return err
	}
	c.remote = service.(*remote)
	return nil
}

// startError says by type why connect failed: go-plugin's errors say it in
// words only.
func (c *child) startError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return asError(ctx.Err())
	}
	if v, ok := c.proc.handshake.protocol(); ok && v != ProtocolVersion {
		return &Error{Code: CodeVersion, Message: fmt.Sprintf("the plugin speaks protocol version %d, this host %d", v, ProtocolVersion)}
	}
	e := &Error{Code: CodeHandshake, Message: "the process did not announce itself as a plugin", Err: err}
	if c.proc.id() == 0 {
		e.Message = "the process could not be started"
	}
	return e
}

// printer logs what the plugin prints to its os.Stdout and os.Stderr after the
// handshake, when go-plugin has replaced them.
func (c *child) printer(ctx context.Context, lines *lineLogger, stream string) io.Writer {
	r, w := io.Pipe()
	c.printed = append(c.printed, w)
	ctx = context.WithoutCancel(ctx)
	c.printers.Go(func() { lines.read(ctx, r, stream) })
	return w
}

// bringUp takes the plugin to its work. Until Start is called ctx's end stops
// it; Start itself runs to its end or its timeout, so that what it began can be
// drained. started tells whether Start was called at all.
func (c *child) bringUp(ctx context.Context, take frameFunc) (started bool, err error) {
	streams, closeStreams := context.WithCancel(context.WithoutCancel(ctx))
	c.closeStreams = closeStreams
	stop := context.AfterFunc(ctx, closeStreams)
	defer stop()
	if c.leaseLost, err = c.remote.hold(streams, c.spec.OrphanGrace); err != nil {
		return false, err
	}
	if c.watcher, err = c.remote.watch(streams, c.spec.HeartbeatInterval, take); err != nil {
		return false, err
	}
	info, err := c.remote.info(ctx)
	if err != nil {
		return false, err
	}
	if !slices.Contains(info.Capabilities, CapabilitySelfDriven) {
		return false, &Error{Code: CodeCapability, Message: fmt.Sprintf("%s %s is not %s", info.Name, info.Version, CapabilitySelfDriven)}
	}
	secrets, err := c.spec.Secrets(ctx)
	if err != nil {
		return false, &Error{Code: CodeSecrets, Err: err}
	}
	if err := c.remote.configure(ctx, c.spec.Config, secrets); err != nil {
		return false, err
	}
	if !stop() {
		return false, asError(ctx.Err())
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.spec.StartTimeout)
	defer cancel()
	if err := c.remote.start(bounded); err != nil {
		return true, err
	}
	c.spec.Logger.Info("plugin started", "name", info.Name, "version", info.Version, "plugin_pid", c.proc.id())
	return true, nil
}

// end removes the child: it is asked to stop and to exit, and is killed with
// its process group where it does not within the kill timeout, or is
// unresponsive anyway. When end returns there is no process, socket or
// goroutine left.
func (c *child) end(ctx context.Context) {
	if c.unresponsive || !c.proc.running() {
		c.proc.kill()
	} else {
		c.stop(context.WithoutCancel(ctx))
	}
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		c.client.Kill()
	}()
	timer := time.NewTimer(c.spec.KillTimeout)
	defer timer.Stop()
	select {
	case <-killed:
	case <-timer.C:
		c.proc.kill()
		<-killed
	}
	if c.closeStreams != nil {
		c.closeStreams()
	}
	if c.watcher != nil {
		<-c.watcher.ended
	}
	if c.leaseLost != nil {
		<-c.leaseLost
	}
	if c.proc.id() == 0 {
		c.proc.discard()
	} else {
		<-c.proc.reaped
	}
	for _, w := range c.printed {
		_ = w.Close()
	}
	c.printers.Wait()
	if c.dir != "" {
		_ = os.RemoveAll(c.dir)
	}
}

func (c *child) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.spec.KillTimeout)
	defer cancel()
	if err := c.remote.stop(ctx); err != nil {
		c.spec.Logger.Debug("stop", "error", err)
	}
}

// levelWanted is the lowest of the levels that the logger takes, as a plugin
// wants to know it.
func levelWanted(ctx context.Context, log *slog.Logger) string {
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if log.Enabled(ctx, l) {
			return l.String()
		}
	}
	return slog.LevelError.String()
}
