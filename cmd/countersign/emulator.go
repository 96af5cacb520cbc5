package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/emulator"
)

// emulatorClose bounds how long calls under way may take at the end.
const emulatorClose = 5 * time.Second

type emulatorFlags struct {
	log       logFlags
	listen    listenFlags
	url       string
	sid       string
	token     string
	tokenFile string
	seed      uint64
	faults    faultFlags
	push      []string
	totp      []string
	web       webFlag
	passkeys  []string
	ruleNames []string

	outage, outageAfter time.Duration
}

func emulatorCommand() *cobra.Command {
	var f emulatorFlags
	cmd := &cobra.Command{
		Use:   "emulator",
		Short: "Run an emulated Challenge API, to try everything without an account",
		Long: `Run a Challenge API of one's own on this machine: entities, factors and
challenges through their whole life, every documented limit and error, state in
memory. It is meant for tests and demonstrations, and holds no secrets worth
keeping.

Factors are enrolled by its HTTP API as a device would, or at the start with
--push-factor, --totp-factor and --passkeys-factor. Challenges for such a push
or passkeys factor stay pending until they expire, because no device holds its
key, unless --web serves a page on which each push factor is a virtual phone with
buttons to approve and deny. Without --push-factor the page has one phone, of
` + webIdentity + `.

--outage makes it unreachable once, in good order. Faults are injected by rate,
from flags, from a JSON file, or while it runs:
GET and POST /_emulator/faults, POST /_emulator/outage?for=20s&kind=graceful.
GET /_emulator/stats counts calls, GET /_emulator/created lists every challenge.

What the API's description leaves open is decided by --rule: which error a
wrong code or an unknown challenge gets, how lists are ordered, and more.
docs/emulator.md explains each; a wrong name lists them.

The account and its token come from the flags or from $EMULATOR_ACCOUNT_SID and
$EMULATOR_AUTH_TOKEN; without them a default serves that anybody may know.

SIGTERM or SIGINT ends it once calls under way are answered; a second signal
drops them. It takes loopback addresses only, unless --listen-any says otherwise.

Exit codes: 0 ended in order, 1 otherwise, 2 wrong usage.`,
		Example: `  countersign emulator --push-factor customer-0001

  # With a phone in the browser, and another terminal to ring it:
  countersign emulator --web --push-factor customer-0001

  # A slow and unreliable API:
  countersign emulator --latency 20ms-200ms --throttle-rate 0.05 --server-error-rate 0.02

  # What has been called?
  curl http://127.0.0.1:4010/_emulator/stats`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.log.register(cmd)
	f.web.register(cmd.Flags(), "127.0.0.1:4011")
	f.listen.register(cmd, "127.0.0.1:4010", "`address` to serve on; port 0 takes a free one")
	fl := cmd.Flags()
	fl.StringVar(&f.url, "public-url", "", "what URLs in answers begin with (default: http:// and the address)")
	fl.StringVar(&f.sid, "account-sid", "", "account that may call (default: $EMULATOR_ACCOUNT_SID, else "+emulator.DefaultAccountSID+")")
	fl.StringVar(&f.token, "auth-token", "", "its token (default: $EMULATOR_AUTH_TOKEN, else "+emulator.DefaultAuthToken+")")
	fl.StringVar(&f.tokenFile, "auth-token-file", "", "`file` that holds it instead; made, with a random token, where there is none")
	fl.StringArrayVar(&f.push, "push-factor", nil, "enrol a push factor for this `identity`; repeatable")
	fl.StringArrayVar(&f.totp, "totp-factor", nil, "enrol a TOTP factor, as `identity=BASE32SECRET`; repeatable")
	fl.StringArrayVar(&f.passkeys, "passkeys-factor", nil, "enrol a passkeys factor for this `identity`; repeatable")
	fl.StringArrayVar(&f.ruleNames, "rule", nil, "switch a `name` on that docs/emulator.md lists; repeatable")
	fl.Uint64Var(&f.seed, "seed", 1, "decides which calls the rates hit")
	fl.DurationVar(&f.outage, "outage", 0, "once, be unreachable for that long, in order: no call is left in doubt")
	fl.DurationVar(&f.outageAfter, "outage-after", 10*time.Second, "when, from the start")
	f.faults.register(cmd)
	return cmd
}

func (f emulatorFlags) run(cmd *cobra.Command) error {
	log, err := f.log.logger(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if f.listen.addr == "" {
		return usagef("--listen is empty")
	}
	if err := errors.Join(f.listen.check(), f.web.check(f.listen.anywhere)); err != nil {
		return err
	}
	account, err := f.account()
	if err != nil {
		return err
	}
	faults, err := f.faults.faults(cmd)
	if err != nil {
		return err
	}
	rules, err := f.rules()
	if err != nil {
		return err
	}
	api, err := emulator.New(emulator.Config{
		Addr: f.listen.addr, PublicURL: f.url, Accounts: []emulator.Account{account}, Seed: f.seed, Faults: faults, Rules: rules,
	})
	if err != nil {
		return &usageError{err: err}
	}
	factors, err := f.enrol(api)
	if err != nil {
		return err
	}
	signals := catch(cmd.Context(), log)
	defer signals.release()
	if err := api.Start(signals.abort); err != nil {
		return err
	}
	page, err := f.web.servePhones(signals.abort, api, factors)
	if err == nil {
		greet(cmd.OutOrStdout(), api.URL(), account, factors, page.url())
		err = f.wait(signals.drain, api, log)
		page.close(signals.abort)
	}
	ctx, cancel := context.WithTimeout(signals.abort, emulatorClose)
	defer cancel()
	if closeErr := api.Close(ctx); err == nil && closeErr != nil {
		err = fmt.Errorf("calls under way were dropped: %w", closeErr)
	}
	if err == nil {
		log.Info("ended in order")
	}
	return err
}

// wait is until the emulator shall end, with the outage in between.
func (f emulatorFlags) wait(ctx context.Context, api *emulator.Emulator, log *slog.Logger) error {
	if f.outage > 0 {
		timer := time.NewTimer(f.outageAfter)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		log.Info("going away", "for", f.outage.String())
		if err := api.Outage(f.outage); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

func (f emulatorFlags) account() (emulator.Account, error) {
	if f.tokenFile != "" {
		if f.token != "" {
			return emulator.Account{}, usagef("--auth-token and --auth-token-file are two answers to one question")
		}
		var err error
		if f.token, err = tokenFromFile(f.tokenFile); err != nil {
			return emulator.Account{}, err
		}
	}
	a := emulator.Account{
		SID:       cmp.Or(f.sid, os.Getenv("EMULATOR_ACCOUNT_SID")),
		AuthToken: cmp.Or(f.token, os.Getenv("EMULATOR_AUTH_TOKEN")),
	}
	if a.AuthToken == "" && a.SID != "" && a.SID != emulator.DefaultAccountSID {
		return a, usagef("account %s needs a token: --auth-token or $EMULATOR_AUTH_TOKEN", a.SID)
	}
	a.SID = cmp.Or(a.SID, emulator.DefaultAccountSID)
	a.AuthToken = cmp.Or(a.AuthToken, emulator.DefaultAuthToken)
	return a, nil
}

// enrolled is a factor of the flags.
type enrolled struct {
	emulator.Factor
	key *ecdsa.PrivateKey // of its device; nil: it is none
}

// rules switches on what the flags name.
func (f emulatorFlags) rules() (emulator.Rules, error) {
	var rules emulator.Rules
	for _, name := range f.ruleNames {
		if err := rules.Set(name); err != nil {
			return rules, &usageError{err: fmt.Errorf("--rule: %w", err)}
		}
	}
	return rules, nil
}

// enrol adds the factors of the flags.
func (f emulatorFlags) enrol(api *emulator.Emulator) ([]enrolled, error) {
	var all []enrolled
	push := f.push
	if len(push) == 0 && f.web.addr != "" {
		push = []string{webIdentity}
	}
	for _, identity := range push {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		factor, err := api.AddPushFactor(identity, &key.PublicKey)
		if err != nil {
			return nil, usagef("--push-factor %s: %w", identity, err)
		}
		all = append(all, enrolled{Factor: factor, key: key})
	}
	for _, entry := range f.totp {
		identity, secret, ok := strings.Cut(entry, "=")
		if !ok || secret == "" {
			return nil, usagef("--totp-factor must be identity=BASE32SECRET")
		}
		factor, err := api.AddTOTPFactor(identity, secret)
		if err != nil {
			return nil, usagef("--totp-factor %s: %w", identity, err)
		}
		all = append(all, enrolled{Factor: factor})
	}
	for _, identity := range f.passkeys {
		factor, err := api.AddPasskeysFactor(identity)
		if err != nil {
			return nil, usagef("--passkeys-factor %s: %w", identity, err)
		}
		all = append(all, enrolled{Factor: factor})
	}
	return all, nil
}

// greet says how to connect. The default token is no secret: it is in the help.
func greet(w io.Writer, url string, a emulator.Account, factors []enrolled, page string) {
	token := "as given"
	if a.AuthToken == emulator.DefaultAuthToken {
		token = a.AuthToken
	}
	_, _ = fmt.Fprintf(w, "base_url     %s\naccount_sid  %s\nauth_token   %s\nservice_sid  %s (or any other)\n",
		url, a.SID, token, emulator.DefaultServiceSID)
	for _, factor := range factors {
		_, _ = fmt.Fprintf(w, "factor_sid   %s (%s) identity %s\n", factor.SID, factor.Type, factor.Identity)
	}
	if page != "" {
		_, _ = fmt.Fprintf(w, "web          %s\n", page)
	}
}
