package main

import (
	"cmp"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
)

// logFlags choose what is logged and how. Logs go to stderr; stdout belongs to
// what a command is asked for.
type logFlags struct{ level, format string }

func (f *logFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.level, "log-level", "", "debug, info, warn or error (default: $COUNTERSIGN_LOG_LEVEL, else info)")
	cmd.Flags().StringVar(&f.format, "log-format", "", "text or json (default: $COUNTERSIGN_LOG_FORMAT, else text)")
}

// logger makes the logger that the flags, and where they are silent the
// environment, ask for.
func (f logFlags) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if text := cmp.Or(f.level, os.Getenv("COUNTERSIGN_LOG_LEVEL"), "info"); level.UnmarshalText([]byte(text)) != nil {
		return nil, usagef("the log level must be debug, info, warn or error, not %q", text)
	}
	opts := &slog.HandlerOptions{Level: level}
	switch format := cmp.Or(f.format, os.Getenv("COUNTERSIGN_LOG_FORMAT"), "text"); format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	default:
		return nil, usagef("the log format must be text or json, not %q", format)
	}
}
