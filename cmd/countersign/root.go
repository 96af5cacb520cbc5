package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// rootCommand builds the whole tree anew, so that no call leaves anything
// behind for the next.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "countersign",
		Short: "Challenge requests from Kafka to the Challenge API, results back",
		Long: `Countersign reads challenge-request events from Kafka, calls the Challenge API
behind a rate limiter and a circuit breaker, and publishes result events.

Start with the demo: it brings everything that it needs and takes seconds.
Then run the connector by itself (run), or load it as a plugin (host, as the
model for a host of your own; countersign help plugin says what a host starts).

Exit codes of every command: 0 done, 1 failed or something found, 2 wrong usage; of an
audit 2 also where it could not be completed.`,
		Example: `  countersign demo
  countersign validate --example > countersign.yaml
  countersign run --config countersign.yaml`,
		Args:          knownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       build().line(),
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err: err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SuggestionsMinimumDistance = 2
	root.AddCommand(
		demoCommand(),
		runCommand(),
		hostCommand(),
		pluginCommand(),
		sendCommand(),
		tailCommand(),
		redriveCommand(),
		auditCommand(),
		replayCommand(),
		emulatorCommand(),
		deviceCommand(),
		validateCommand(),
		healthcheckCommand(),
		versionCommand(),
	)
	return root
}

// knownCommand refuses what cobra takes for an argument of the root: a command
// that does not exist.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usagef("there is no command %q%s", args[0], hint)
}
