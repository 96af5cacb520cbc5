package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin"
)

// answerMargin is how much longer than its lanes a plugin may take to drain:
// the rest is for leaving the group and for the answer.
const answerMargin = 5 * time.Second

// selfPlugin names this binary as the plugin.
const selfPlugin = "self"

type hostFlags struct {
	config configFlag
	log    logFlags
	listen listenFlags
	plugin string
	sha256 string
	env    []string
}

func hostCommand() *cobra.Command {
	var f hostFlags
	cmd := &cobra.Command{
		Use:   "host",
		Short: "Run the connector as a supervised plugin process: the reference host",
		Long: `Load the connector as a plugin, in a process of its own, and keep it working: it
is configured, watched by heartbeats, restarted with growing pauses when it
crashes or hangs, and drained when the host ends. A wrong configuration,
checksum or protocol ends the host at once instead of being retried.

The plugin is this binary itself, or the one that --plugin names; then --sha256
must say what it is expected to be. It is checked before every start.

The configuration is that of countersign run. The document goes to the plugin
as it is written, with its placeholders. What ${env:NAME} and ${file:PATH} stand
for is looked up anew for every start and goes over the encrypted channel only,
never by argument or environment. The plugin does not inherit the environment:
name with --env what it needs beside its configuration, such as HTTPS_PROXY.

SIGTERM or SIGINT drains the plugin. A second signal kills it: what was
unfinished is not committed, and done again by whoever takes over. Should the
host itself be killed, the plugin notices, finishes its work and ends.

` + listenHelp + `
/status also shows the plugin's process id and how often it was restarted.

Exit codes: 0 drained and nothing was abandoned, 1 otherwise, 2 wrong usage.`,
		Example: `  # This binary as its own plugin:
  countersign validate --example > countersign.yaml
  export CHALLENGE_AUTH_TOKEN=emulatortoken00000000000000000001
  countersign host --config countersign.yaml --listen 127.0.0.1:8080

  # The separate plugin binary:
  countersign host --config countersign.yaml --plugin ./countersign-plugin \
      --sha256 "$(sha256sum countersign-plugin | cut -d' ' -f1)"`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.config.register(cmd)
	f.log.register(cmd)
	f.listen.register(cmd, "", "`address` for health, status and metrics, as in 127.0.0.1:8080 (default: none)")
	cmd.Flags().StringVar(&f.plugin, "plugin", selfPlugin, "`path` of the plugin's binary, or self for this one")
	cmd.Flags().StringVar(&f.sha256, "sha256", "", "the binary's SHA-256 in `hex`; required with a path")
	cmd.Flags().StringArrayVar(&f.env, "env", nil,
		"environment for the plugin: `NAME` as it is here, or NAME=VALUE; repeatable, no secrets")
	return cmd
}

func (f hostFlags) run(cmd *cobra.Command) error {
	log, err := f.log.logger(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if err := f.listen.check(); err != nil {
		return err
	}
	spec, err := f.spec(log)
	if err != nil {
		return err
	}
	host, err := plugin.NewSupervisor(spec)
	if err != nil {
		return err
	}
	ops, err := f.listen.serve(cmd.Context(), hosted{spec: spec, host: host}.observed(), log)
	if err != nil {
		return err
	}
	defer ops.close(cmd.Context())
	signals := catch(cmd.Context(), log)
	defer signals.release()
	defer context.AfterFunc(signals.abort, func() { kill(host.PID()) })()
	log.Info("hosting", "plugin", spec.Path, "sha256", spec.SHA256)
	if err := host.Run(signals.drain); err != nil {
		return everyFault(err)
	}
	log.Info("the plugin has drained")
	return nil
}

// everyFault shows all violations of a refused configuration; the error's own
// text shows the first.
func everyFault(err error) error {
	var refused *plugin.Error
	if errors.As(err, &refused) && len(refused.Violations) > 0 {
		return fmt.Errorf("the plugin refuses to work: %w", &connector.ConfigError{Violations: refused.Violations})
	}
	return err
}

// kill ends a plugin at once. Its supervisor sees it as a crash while it
// drains, and reports what that means.
func kill(pid int) {
	if pid > 0 {
		_ = syscall.Kill(-pid, syscall.SIGKILL) // it may have ended by itself
	}
}

// spec says what to run and how.
func (f hostFlags) spec(log *slog.Logger) (plugin.Spec, error) {
	spec := plugin.Spec{Path: f.plugin, SHA256: f.sha256, Logger: log, OnStatus: (&statusLog{log: log}).take}
	switch {
	case f.plugin == selfPlugin && f.sha256 != "":
		return spec, usagef("--sha256 belongs to a --plugin PATH")
	case f.plugin == selfPlugin:
		if err := asSelf(&spec); err != nil {
			return spec, err
		}
	case f.sha256 == "":
		return spec, usagef("--plugin %s needs --sha256, so that nothing else is started in its place", f.plugin)
	}
	for _, entry := range f.env {
		if name, _, set := strings.Cut(entry, "="); !set {
			value, ok := os.LookupEnv(name)
			if !ok {
				return spec, usagef("--env %s: it is not set here", name)
			}
			entry = name + "=" + value
		}
		spec.Env = append(spec.Env, entry)
	}
	return spec, f.configure(&spec)
}

// configure hands the configuration over. Another binary may know keys that
// this one does not, so only the plugin judges it then.
func (f hostFlags) configure(spec *plugin.Spec) error {
	doc, cfg, err := f.config.load()
	if err != nil && f.plugin == selfPlugin {
		return err
	}
	if err != nil {
		if doc, err = f.config.read(); err != nil {
			return err
		}
	}
	spec.Config = doc.data
	spec.Secrets = func(context.Context) (map[string]string, error) { return doc.secrets() }
	if cfg.DrainTimeout > 0 {
		spec.DrainTimeout = cfg.DrainTimeout + answerMargin
		spec.OrphanGrace = spec.DrainTimeout
	}
	return nil
}

// asSelf makes this binary the plugin.
func asSelf(spec *plugin.Spec) error {
	path, err := os.Executable()
	if err != nil {
		return fmt.Errorf("this binary's own path: %w", err)
	}
	sum, err := plugin.SHA256File(path)
	if err != nil {
		return fmt.Errorf("this binary's own checksum: %w", err)
	}
	spec.Path, spec.SHA256, spec.Args = path, sum, []string{"plugin"}
	return nil
}
