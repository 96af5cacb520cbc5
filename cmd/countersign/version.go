package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/plugin"
	"github.com/countersign/countersign/schemas"
)

// What the linker is told where there is no checkout to read it from, as in an
// image: -ldflags "-X main.release=v1.2.3 -X main.commit=..."
var release, commit string

// buildInfo says what this binary is and which contracts it keeps.
type buildInfo struct {
	Version  string `json:"version"`            // of the module; (devel) where it was not built from a release
	Commit   string `json:"commit,omitempty"`   // empty: built outside of a checkout
	Modified bool   `json:"modified,omitempty"` // the checkout had changes
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Protocol int    `json:"protocol"` // of the plugin
	Events   string `json:"events"`   // of the event contract
}

func build() buildInfo {
	b := buildInfo{
		Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Protocol: plugin.ProtocolVersion, Events: schemas.Version,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	b.Version, b.Commit = cmp.Or(release, b.Version), cmp.Or(commit, b.Commit)
	return b
}

// line is the version as one line.
func (b buildInfo) line() string {
	source := ""
	if b.Commit != "" {
		source = ", commit " + b.Commit
		if b.Modified {
			source += " with changes"
		}
	}
	return fmt.Sprintf("countersign %s%s, %s %s, plugin protocol %d, events %s",
		b.Version, source, b.Go, b.Platform, b.Protocol, b.Events)
}

func versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show what this build is and which contracts it keeps",
		Long: `Show the version and the commit that this binary was built from, the Go version,
the version of the plugin protocol and that of the event contract.

A host and a plugin work together where their protocol versions are the same,
whatever their other versions.

` + exitCodes,
		Example: `  countersign version
  countersign version --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := build()
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(b)
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), b.line())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}
