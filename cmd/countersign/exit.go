package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Exit codes. They are part of the interface of every command.
const (
	exitOK     = 0
	exitFailed = 1 // it did not work, or it found what it was asked to look for
	exitUsage  = 2 // the command line is wrong, nothing was done; or as a command's help says
)

// exitCodes is the part that every command's help ends with.
const exitCodes = `Exit codes: 0 done, 1 failed, 2 wrong usage.`

// usageError is a fault of the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...)}
}

// exitError ends a command with an exit code of its own, for those whose help says
// so.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// errReported ends a command with exit code 1 where everything that there is to
// say has been printed.
var errReported = errors.New("reported already")

// execute runs one command line and returns its exit code. It is main without
// the process: ctx's end counts as the first interrupt.
func execute(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := rootCommand()
	root.SetArgs(append([]string{}, args...)) // cobra takes nil for os.Args
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	cmd, err := root.ExecuteContextC(ctx)
	var usage *usageError
	var other *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitFailed
	case errors.As(err, &usage):
		_, _ = fmt.Fprintf(errOut, "countersign: %v\nRun '%s --help' for usage.\n", err, cmd.CommandPath())
		return exitUsage
	case errors.As(err, &other):
		_, _ = fmt.Fprintf(errOut, "countersign: %v\n", err)
		return other.code
	default:
		_, _ = fmt.Fprintf(errOut, "countersign: %v\n", err)
		return exitFailed
	}
}

// noArgs refuses arguments, as a fault of usage.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments, and got %q", cmd.CommandPath(), args[0])
	}
	return nil
}
