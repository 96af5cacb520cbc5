package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/internal/tracing"
)

type runFlags struct {
	config configFlag
	log    logFlags
	listen listenFlags
}

func runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the connector, without a host",
		Long: `Run the connector in this process: read request events from Kafka, call the
Challenge API, publish result events.

The configuration is a YAML file and, over it, the environment: a variable is
COUNTERSIGN_ and the path in capitals, with two underscores between the levels
(COUNTERSIGN_KAFKA__BROKERS, COUNTERSIGN_ACCOUNTS__MAIN__BASE_URL). Secrets are
written as ${env:NAME} or ${file:PATH}. countersign validate checks it all and,
with --example, prints a file to begin with.

SIGTERM or SIGINT ends it in order: no new record is taken, calls under way
finish, their results are committed, the consumer group is left. A second signal
gives up instead. What is given up is not lost: it was not committed, so whoever
takes the partitions over does it again.

` + listenHelp + `

Exit codes: 0 ended in order and nothing was given up, 1 otherwise, 2 wrong usage.`,
		Example: `  # Against the emulator (countersign emulator) and a broker on this machine:
  countersign validate --example > countersign.yaml
  export CHALLENGE_AUTH_TOKEN=emulatortoken00000000000000000001
  countersign run --config countersign.yaml --listen 127.0.0.1:8080

  # Is progress possible?
  curl -f http://127.0.0.1:8080/readyz`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.config.register(cmd)
	f.log.register(cmd)
	f.listen.register(cmd, "", "`address` for health, status and metrics, as in 127.0.0.1:8080 (default: none)")
	return cmd
}

func (f runFlags) run(cmd *cobra.Command) error {
	log, err := f.log.logger(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if err := f.listen.check(); err != nil {
		return err
	}
	_, cfg, err := f.config.load()
	if err != nil {
		return err
	}
	spans, err := tracing.Start(cfg.Tracing, log)
	if err != nil {
		return err
	}
	spans.Open(cmd.Context())
	defer spans.Close(cmd.Context())
	conn, err := connector.New(cfg, connector.WithLogger(log), spans.Option())
	if err != nil {
		return err
	}
	ops, err := f.listen.serve(cmd.Context(), observed{
		status:   conn.Status,
		document: func() any { return conn.Status() },
		metrics:  func(_ context.Context, w io.Writer) error { return conn.WriteMetrics(w) },
	}, log)
	if err != nil {
		return err
	}
	defer ops.close(cmd.Context())
	signals := catch(cmd.Context(), log)
	defer signals.release()
	defer context.AfterFunc(signals.abort, conn.Abort)()
	log.Info("running", "group", cfg.Kafka.Group, "requests", cfg.Kafka.Topics.Requests, "results", cfg.Kafka.Topics.Results)
	if err := conn.Run(signals.drain); err != nil {
		return err
	}
	log.Info("ended in order")
	return nil
}
