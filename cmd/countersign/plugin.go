package main

import (
	"github.com/spf13/cobra"

	"github.com/countersign/countersign/plugin"
)

func pluginCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "plugin",
		Short: "Serve the connector as a plugin; a host starts this, never a person",
		Long: `Serve the connector as a go-plugin plugin: gRPC over a Unix socket, mutual TLS,
protocol connector.v1. It is what countersign host starts where --plugin names
no other binary; the small binary countersign-plugin serves the same.

A host of your own starts it by one call of the Go package plugin (plugin.Run),
with the path of this binary, the argument "plugin" and the binary's SHA-256.
Configuration and secrets come over the plugin's channel: neither arguments nor
environment are read.

Started by hand it prints a hint and ends.

Exit codes: 0 drained and nothing was abandoned, 1 otherwise, 2 wrong usage.`,
		Example: `  countersign host --config countersign.yaml
  countersign host --config countersign.yaml --plugin ./countersign-plugin \
      --sha256 "$(sha256sum countersign-plugin | cut -d' ' -f1)"`,
		Args:   noArgs,
		Hidden: true,
		Run: func(cmd *cobra.Command, _ []string) {
			plugin.Serve(cmd.Context(), plugin.ServeConfig{New: plugin.Countersign})
		},
	}
}
