package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/schemas"
)

// schemaNames are what --schema can print.
var schemaNames = []string{"request", "result", "deadletter", "redrive", "ledger", "position", "audit", "config"}

type validateFlags struct {
	config   configFlag
	requests []string
	results  []string
	schema   string
	example  bool
}

func validateCommand() *cobra.Command {
	var f validateFlags
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check a configuration and events, and report every fault at once",
		Long: `Check a configuration, request events and result events against the contract that
the connector keeps, and report every fault, each with its file, its line and
the path of the field. Nothing is sent and no network is used.

The configuration is read as countersign run reads it: COUNTERSIGN_* variables
are laid over the file, and the secrets and certificates that it refers to must
be there. No message shows a secret or an auth_payload.

` + inputHelp + `

Request events are judged as if they arrived now: an expiration date in the past
is a fault.

Exit codes: 0 no fault (warnings are none), 1 at least one fault, 2 wrong usage.`,
		Example: `  countersign validate --example > countersign.yaml
  CHALLENGE_AUTH_TOKEN=emulatortoken00000000000000000001 \
      countersign validate --config countersign.yaml

  countersign validate --requests requests.jsonl --requests more.jsonl
  countersign tail --json -n 100 | countersign validate --results -

  countersign validate --schema request > request.schema.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := cmd.Flags()
	f.config.register(cmd)
	fl.StringArrayVar(&f.requests, "requests", nil, "`file` of request events, - for stdin; repeatable")
	fl.StringArrayVar(&f.results, "results", nil, "`file` of result events, - for stdin; repeatable")
	fl.StringVar(&f.schema, "schema", "", "print a JSON Schema instead: `name` is "+strings.Join(schemaNames[:len(schemaNames)-1], ", ")+" or "+schemaNames[len(schemaNames)-1])
	fl.BoolVar(&f.example, "example", false, "print a configuration to begin with instead")
	return cmd
}

func (f validateFlags) run(cmd *cobra.Command) error {
	checks := cmd.Flags().Changed("config") || len(f.requests)+len(f.results) > 0
	switch {
	case f.schema != "" && !checks && !f.example:
		return printSchema(cmd, f.schema)
	case f.example && !checks && f.schema == "":
		_, err := cmd.OutOrStdout().Write(exampleConfig)
		return err
	case f.schema != "" || f.example:
		return usagef("--schema and --example print and check nothing; each stands alone")
	case !checks:
		return usagef("nothing to check: name --config, --requests or --results")
	}
	stdin := 0
	for _, name := range append(f.requests, f.results...) {
		if name == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return usagef("stdin can be read once")
	}
	return f.check(cmd)
}

func (f validateFlags) check(cmd *cobra.Command) error {
	r := report{out: cmd.OutOrStdout()}
	configFaults, err := f.checkConfig(cmd, &r)
	if err != nil {
		return err
	}
	now := time.Now()
	judge := func(names []string, one func(event, time.Time)) error {
		for _, name := range names {
			events, err := readEvents(name, cmd.InOrStdin())
			if err != nil {
				return err
			}
			for _, e := range events {
				one(e, now)
			}
		}
		return nil
	}
	if err := judge(f.requests, func(e event, now time.Time) { r.request(e, now) }); err != nil {
		return err
	}
	if err := judge(f.results, r.result); err != nil {
		return err
	}
	faults := r.faults + configFaults
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%sevents: %d, with faults: %d; faults: %d, warnings: %d\n",
		f.configVerdict(cmd, configFaults), r.events, r.faulty, faults, r.warnings)
	if faults > 0 {
		return errReported
	}
	return nil
}

// checkConfig prints and counts the faults of the configuration, if it is to be
// checked.
func (f validateFlags) checkConfig(cmd *cobra.Command, r *report) (faults int, err error) {
	if !cmd.Flags().Changed("config") {
		return 0, nil
	}
	doc, cfg, err := f.config.load()
	var faulty *connector.ConfigError
	var found []connector.Violation
	switch {
	case errors.As(err, &faulty):
		found = faulty.Violations
	case err != nil:
		return 0, err
	default:
		found = cfg.Kafka.CheckFiles()
	}
	for _, v := range found {
		text := v.Message
		if v.Path != "" {
			text = v.Path + ": " + text
		}
		r.line(doc.from, printable(text))
	}
	return len(found), nil
}

func (f validateFlags) configVerdict(cmd *cobra.Command, faults int) string {
	switch {
	case !cmd.Flags().Changed("config"):
		return ""
	case faults > 0:
		return "configuration refused; "
	default:
		return "configuration accepted; "
	}
}

func printSchema(cmd *cobra.Command, name string) error {
	text, ok := schemas.JSONSchema(name)
	if name == "config" {
		text, ok = connector.ConfigSchema(), true
	}
	if !ok {
		return usagef("--schema must be one of %s, not %q", strings.Join(schemaNames, ", "), name)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", bytes.TrimSpace(text))
	return err
}
