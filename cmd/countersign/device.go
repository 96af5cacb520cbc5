package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

type deviceFlags struct {
	baseURL   string
	service   string
	identity  string
	username  string
	tokenFile string
	name      string
	state     string
	decide    string
	count     int
	poll      time.Duration
	totp      bool
	alg       string
	digits    int
	step      int
}

func deviceCommand() *cobra.Command {
	var f deviceFlags
	cmd := &cobra.Command{
		Use:   "device",
		Short: "Be a phone: enrol a factor, show its challenges, approve or deny them",
		Long: `Be the phone of one identity. It makes a key, enrols a push factor as the mobile
SDKs do, prints its factor_sid, and then looks for pending challenges: each is
shown with its message and fields, and answered with a signature of the key over
what the API asks to be signed.

--decide says who decides: ask reads y (approve), n (deny) or i (ignore) from
stdin for each, approve and deny answer by themselves, ignore only shows. With
--state, key and factor are kept in a file, and the next start is the same phone.

With --totp it is an authenticator instead: it enrols a TOTP factor and prints
each code as its time comes.

The account and its token, which enrolment needs, come from the flags or from
$EMULATOR_ACCOUNT_SID and $EMULATOR_AUTH_TOKEN; an API on this machine without
them is taken for a countersign emulator as it starts by default. For an access
token give --username token.

Exit codes: 0 ended as asked, 1 otherwise, 2 wrong usage.`,
		Example: `  # With countersign emulator and a connector running:
  countersign device --identity customer-0001

  # Approve the next challenge, then end:
  countersign device --identity customer-0001 --state phone.json \
      --decide approve --count 1

  countersign device --identity customer-0001 --totp --alg sha256 --code-length 8`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.baseURL, "base-url", "http://127.0.0.1:4010", "the API's `url`, without a path; http only to this machine")
	fl.StringVar(&f.service, "service-sid", emulator.DefaultServiceSID, "service of the factor")
	fl.StringVar(&f.identity, "identity", "", "whose phone it is (required)")
	fl.StringVar(&f.username, "username", "", "account that enrols, or token (default: $EMULATOR_ACCOUNT_SID)")
	fl.StringVar(&f.tokenFile, "auth-token-file", "", "`file` that holds its token (default: $EMULATOR_AUTH_TOKEN)")
	fl.StringVar(&f.name, "name", "virtual device", "the factor's friendly name")
	fl.StringVar(&f.state, "state", "", "`file` that holds the key and the factor; made where there is none")
	fl.StringVar(&f.decide, "decide", decideAsk, "ask, approve, deny or ignore")
	fl.IntVar(&f.count, "count", 0, "end after so many answers, or codes; 0 is never")
	fl.DurationVar(&f.poll, "poll", 500*time.Millisecond, "pause between two looks")
	fl.BoolVar(&f.totp, "totp", false, "be an authenticator: enrol a TOTP factor and print its codes")
	fl.StringVar(&f.alg, "alg", "", "with --totp: sha1, sha256 or sha512 (default: the API's)")
	fl.IntVar(&f.digits, "code-length", 0, "with --totp: 3 to 8 digits (default: the API's)")
	fl.IntVar(&f.step, "time-step", 0, "with --totp: 20 to 60 seconds (default: the API's)")
	return cmd
}

// Who decides about a challenge.
const (
	decideAsk     = "ask"
	decideApprove = "approve"
	decideDeny    = "deny"
	decideIgnore  = "ignore"
)

func (f deviceFlags) run(cmd *cobra.Command) error {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if f.totp || f.decide != decideAsk {
		var release func()
		ctx, release = interruptible(ctx)
		defer release()
	} // else a read of stdin holds it, and Ctrl-C may just end the process: nothing is under way
	if f.totp {
		return f.authenticate(ctx, cmd.OutOrStdout(), cfg)
	}
	return f.ring(ctx, cmd, cfg)
}

// config checks the flags.
func (f deviceFlags) config() (device.Config, error) {
	cfg := device.Config{
		BaseURL: f.baseURL, ServiceSID: f.service, Identity: f.identity, FriendlyName: f.name, Poll: f.poll,
		Username: cmp.Or(f.username, os.Getenv("EMULATOR_ACCOUNT_SID")), Password: os.Getenv("EMULATOR_AUTH_TOKEN"),
	}
	u, err := url.Parse(f.baseURL)
	here := err == nil && isThisMachine(u.Hostname())
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return cfg, usagef("--base-url must be an http or https URL")
	case u.Scheme == "http" && !here:
		return cfg, usagef("--base-url must be https: credentials would pass the network in clear")
	case f.identity == "":
		return cfg, usagef("--identity is required")
	case f.count < 0 || f.poll <= 0:
		return cfg, usagef("--count can't be negative, and --poll must be above 0")
	case f.totp && f.state != "":
		return cfg, usagef("--state is for a phone: an authenticator keeps nothing")
	case !f.totp && (f.alg != "" || f.digits != 0 || f.step != 0):
		return cfg, usagef("--alg, --code-length and --time-step belong to --totp")
	}
	switch f.decide {
	case decideAsk, decideApprove, decideDeny, decideIgnore:
	default:
		return cfg, usagef("--decide must be ask, approve, deny or ignore")
	}
	if f.tokenFile != "" {
		token, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return cfg, fmt.Errorf("--auth-token-file: %w", err)
		}
		cfg.Password = strings.TrimSpace(string(token))
	}
	if here {
		cfg.Username, cfg.Password = cmp.Or(cfg.Username, emulator.DefaultAccountSID), cmp.Or(cfg.Password, emulator.DefaultAuthToken)
	}
	if cfg.Username == "" || cfg.Password == "" {
		return cfg, usagef("enrolment needs an account and its token: --username and --auth-token-file")
	}
	return cfg, nil
}

// ring is the phone's life.
func (f deviceFlags) ring(ctx context.Context, cmd *cobra.Command, cfg device.Config) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	out, errOut := cmd.OutOrStdout(), cmd.ErrOrStderr()
	var answers atomic.Int64
	cfg.OnError = func(err error) { _, _ = fmt.Fprintf(errOut, "countersign: %s\n", printable(err.Error())) }
	cfg.OnAnswer = func(c device.Challenge, d device.Decision) {
		what := device.StatusApproved
		if d == device.Deny {
			what = device.StatusDenied
		}
		_, _ = fmt.Fprintf(out, "%s %s\n", what, printable(c.SID))
		if answers.Add(1) == int64(f.count) {
			end()
		}
	}
	phone, err := openPhone(ctx, cfg, f.state)
	if err != nil {
		return err
	}
	defer phone.Close()
	_, _ = fmt.Fprintf(out, "factor_sid   %s (push) identity %s\n", phone.Factor().SID, f.identity)
	in := bufio.NewScanner(cmd.InOrStdin())
	err = phone.Run(ctx, func(c device.Challenge) device.Decision {
		showChallenge(out, c, time.Now())
		switch f.decide {
		case decideApprove:
			return device.Approve
		case decideDeny:
			return device.Deny
		case decideIgnore:
			return device.Ignore
		default:
			return ask(out, in, end)
		}
	})
	if err == nil && f.count > 0 && answers.Load() < int64(f.count) {
		return fmt.Errorf("ended after %d of %d answers", answers.Load(), f.count)
	}
	return err
}

// showChallenge prints what a phone shows.
func showChallenge(w io.Writer, c device.Challenge, now time.Time) {
	_, _ = fmt.Fprintf(w, "challenge %s, expires in %s\n", printable(c.SID), max(0, c.ExpirationDate.Sub(now)).Round(time.Second))
	if c.Details == nil {
		return
	}
	_, _ = fmt.Fprintf(w, "  %s\n", printable(c.Details.Message))
	for _, field := range c.Details.Fields {
		_, _ = fmt.Fprintf(w, "  %s: %s\n", printable(field.Label), printable(field.Value))
	}
}

// ask reads a decision. At the end of the input nobody is there any more.
func ask(w io.Writer, in *bufio.Scanner, end func()) device.Decision {
	for {
		_, _ = io.WriteString(w, "approve? y/n/i: ")
		if !in.Scan() {
			_, _ = io.WriteString(w, "\n")
			end()
			return device.Ignore
		}
		switch strings.ToLower(strings.TrimSpace(in.Text())) {
		case "y", "yes":
			return device.Approve
		case "n", "no":
			return device.Deny
		case "i", "ignore":
			return device.Ignore
		}
	}
}

// authenticate is an authenticator's life: a line for each code.
func (f deviceFlags) authenticate(ctx context.Context, out io.Writer, cfg device.Config) error {
	one, err := device.EnrolTOTP(ctx, cfg, device.TOTPOptions{Alg: f.alg, CodeLength: f.digits, TimeStep: f.step})
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "factor_sid   %s (totp) identity %s\n", one.Factor().SID, f.identity)
	for n := 1; ; n++ {
		now := time.Now()
		code, err := one.Code(now)
		if err != nil {
			return err
		}
		seconds := int64(one.Step() / time.Second) // counted from 1970 (RFC 6238)
		next := time.Unix((now.Unix()/seconds+1)*seconds, 0)
		_, _ = fmt.Fprintf(out, "code         %s, for %s\n", code, next.Sub(now).Round(time.Second))
		if n == f.count {
			return nil
		}
		timer := time.NewTimer(next.Sub(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			if f.count > 0 {
				return errors.New("ended before all codes were printed")
			}
			return nil
		case <-timer.C:
		}
	}
}
