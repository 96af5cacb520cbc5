package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// child is this program in a role.
type child struct {
	role   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	stderr bytes.Buffer
}

func spawn(ctx context.Context, role string, s spec) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{role: role, cmd: exec.CommandContext(ctx, self, role)} //nolint:gosec // itself
	c.cmd.Stderr = &c.stderr
	c.cmd.WaitDelay = 5 * time.Second
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = json.NewDecoder(out)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(c.in).Encode(s); err != nil {
		return nil, errors.Join(err, c.end())
	}
	return c, nil
}

// hear waits for the next line.
func (c *child) hear() (said, error) {
	var s said
	if err := c.out.Decode(&s); err != nil {
		return s, fmt.Errorf("%s: %w", c.role, errors.Join(err, c.end()))
	}
	return s, nil
}

// end lets the process end, and waits for it.
func (c *child) end() error {
	_ = c.in.Close() // it may have gone already
	err := c.cmd.Wait()
	if err != nil || c.stderr.Len() > 0 {
		fmt.Fprintf(os.Stderr, "%s said:\n%s", c.role, c.stderr.Bytes())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.role, err)
	}
	return nil
}

// cpu is what an ended process needed in all.
func (c *child) cpu() time.Duration {
	return c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
}
