package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// A role is what this program does when it has started itself.
var roles = map[string]func(context.Context, *meter, spec) error{
	"emulator":    emulate,
	"bare":        bare,
	"plain":       plain,
	"countersign": countersign,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := start(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchkafka:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, args []string) error {
	if len(args) == 1 {
		if role, ok := roles[args[0]]; ok {
			return play(ctx, role)
		}
	}
	var o options
	fs := flag.NewFlagSet("benchkafka", flag.ContinueOnError)
	o.register(fs)
	if err := fs.Parse(args); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	return orchestrate(ctx, o)
}

// play reads what to do from stdin, and works until it is done or, where the role
// has no end of its own, until stdin ends.
func play(ctx context.Context, role func(context.Context, *meter, spec) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := json.NewDecoder(os.Stdin)
	var s spec
	if err := in.Decode(&s); err != nil {
		return fmt.Errorf("read the specification: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return role(ctx, &meter{spec: s, out: json.NewEncoder(os.Stdout)}, s)
}
