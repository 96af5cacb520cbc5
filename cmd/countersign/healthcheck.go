package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	healthURL     = "http://127.0.0.1:8080/healthz"
	healthTimeout = 3 * time.Second
	// healthAnswer is as much of an answer as is worth showing.
	healthAnswer = 256
)

// healthcheckCommand asks a listener whether it is well: an image without a
// shell has nothing else that could.
func healthcheckCommand() *cobra.Command {
	var (
		target  string
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a listener whether it is well, for a container's health check",
		Long: `Ask the HTTP listener of run, host or emulator once, and end with 0 where it
answers 200. It is what the image's health check runs, as the image has no shell
and no other program.

/healthz says that the process is alive, /readyz that progress is possible. An
orchestrator restarts what is not alive; what is not ready, it only leaves alone.

Redirects are not followed, and no proxy is used.

` + exitCodes,
		Example: `  countersign healthcheck
  countersign healthcheck --url http://127.0.0.1:8080/readyz
  countersign healthcheck --url http://127.0.0.1:4010/_emulator/stats --timeout 1s`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := url.Parse(target)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				return usagef("--url must be an http or https URL, as in %s", healthURL)
			}
			if timeout <= 0 {
				return usagef("--timeout must be above 0")
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return checkHealth(ctx, u)
		},
	}
	cmd.Flags().StringVar(&target, "url", healthURL, "what to ask")
	cmd.Flags().DurationVar(&timeout, "timeout", healthTimeout, "wait no longer for the answer")
	return cmd
}

// checkHealth fails unless the URL answers 200. The error says what was answered.
func checkHealth(ctx context.Context, u *url.URL) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if res.StatusCode == http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, healthAnswer))
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %s: %q", u.Redacted(), res.Status, strings.TrimSpace(string(body)))
}
