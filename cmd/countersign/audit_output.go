package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connector/audit"
	"github.com/countersign/countersign/internal/secret"
)

// auditMemory is what an audit's heap is kept below where it can be: what it
// remembers is small beside the garbage of what it reads, which would otherwise be
// let to grow to as much again.
const auditMemory = 440 << 20

// frugal bounds the memory until the function that it returns is called, unless
// GOMEMLIMIT says how.
func frugal() (restore func()) {
	before := debug.SetMemoryLimit(-1)
	if before == math.MaxInt64 {
		debug.SetMemoryLimit(auditMemory)
	}
	return func() { debug.SetMemoryLimit(before) }
}

// auditOutputs say where a report goes.
type auditOutputs struct {
	json, html string
	key        secret.String // empty: it is not signed
}

// outputs reads what the outputs need before anything long is done.
func (f auditFlags) outputs() (auditOutputs, error) {
	out := auditOutputs{json: f.json, html: f.html}
	for _, name := range []string{f.json, f.html} {
		if name == "" || name == "-" {
			continue
		}
		if info, err := os.Stat(filepath.Dir(name)); err != nil {
			return out, err
		} else if !info.IsDir() {
			return out, fmt.Errorf("%s is no folder", filepath.Dir(name))
		}
	}
	if f.sign != "" {
		key, err := os.ReadFile(f.sign)
		if err != nil {
			return out, err
		}
		out.key = secret.String(key)
	}
	return out, nil
}

// write writes the report everywhere, and its text to out unless JSON goes there.
func (o auditOutputs) write(out io.Writer, r *audit.Report) error {
	data, err := r.Encode()
	if err != nil {
		return err
	}
	if o.html != "" {
		var page bytes.Buffer
		if err := r.HTML(&page); err != nil {
			return err
		}
		if err := os.WriteFile(o.html, page.Bytes(), 0o644); err != nil { //nolint:gosec // a report is made to be read by others
			return err
		}
	}
	if o.json == "-" {
		_, err := out.Write(data)
		return err
	}
	if o.json != "" {
		if err := os.WriteFile(o.json, data, 0o644); err != nil { //nolint:gosec // likewise
			return err
		}
	}
	if !o.key.IsZero() {
		note, err := audit.Sign(data, o.key)
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.json+".sig", note, 0o644); err != nil { //nolint:gosec // likewise
			return err
		}
	}
	return r.Text(out)
}

type auditVerifyFlags struct {
	broker      brokerFlags
	key         string
	signature   string
	identityKey string
}

func auditVerifyCommand() *cobra.Command {
	var f auditVerifyFlags
	cmd := &cobra.Command{
		Use:   "verify REPORT",
		Short: "Make a report again from the topics and compare",
		Long: `Make a report (the JSON of countersign audit) again from the topics as they are now and
compare: every record that it covers, by its digest, and everything that it says of
them. What differs is named by partition and offsets.

With --key the report's signature is checked first: that this very file was signed with
the private half of that key.

A window that was open when it was reported is compared as it was then.

Exit codes: 0 as reported, 1 something differs, 2 it could not be run or completed.`,
		Example: `  countersign audit verify january.json
  countersign audit verify january.json --key auditor.pub`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s takes one file, the report", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	fl := cmd.Flags()
	f.broker.register(cmd)
	fl.StringVar(&f.key, "key", "", "`file` with the public key that the report must be signed with")
	fl.StringVar(&f.signature, "signature", "", "`file` with the signature (default: REPORT.sig)")
	fl.StringVar(&f.identityKey, "identity-key", "", "`file` with the key that identities were hashed with, to compare these, too")
	return cmd
}

func (f auditVerifyFlags) run(cmd *cobra.Command, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return couldNot(err)
	}
	report, err := audit.Decode(data)
	if err != nil {
		return couldNot(fmt.Errorf("%s: %w", path, err))
	}
	if err := f.signed(cmd.OutOrStdout(), path, data); err != nil {
		return err
	}
	var cfg audit.Config
	if f.identityKey != "" {
		key, err := os.ReadFile(f.identityKey)
		if err != nil {
			return couldNot(err)
		}
		cfg.IdentityKey = secret.String(strings.TrimSpace(string(key)))
	}
	client, err := f.broker.client()
	if err != nil {
		return couldNot(err)
	}
	defer func() { _ = client.Close() }()
	ctx, release := interruptible(cmd.Context())
	defer release()
	show := newMeter(cmd.ErrOrStderr(), "offsets")
	cfg.Progress = func(p audit.Progress) { show.update(p.Done, p.Total, p.Waiting) }
	cfg.State = path + ".verify.state"
	defer frugal()()
	if err := goesOn(cmd.ErrOrStderr(), cfg.State); err != nil {
		return couldNot(err)
	}
	found, err := audit.Verify(ctx, client, report, cfg)
	show.end()
	if err != nil {
		return couldNot(auditFlags{}.explain(err, cfg))
	}
	var b strings.Builder
	if report.Window.IdentityKey != audit.IdentityKeyName(cfg.IdentityKey) && report.Window.IdentityKey != "" {
		fmt.Fprintln(&b, "identities are not compared: they are hashed with a key, and --identity-key is not given")
	}
	for _, d := range found {
		fmt.Fprintln(&b, printable(d.Text))
	}
	switch {
	case len(found) > 0:
		fmt.Fprintf(&b, "%s is not what the topics say: %d differences\n", path, len(found))
	default:
		fmt.Fprintf(&b, "%s is what the topics say: all %d requests and what answers them are as they were\n", path, report.Counts.Requests)
	}
	if _, err := io.WriteString(cmd.OutOrStdout(), b.String()); err != nil {
		return couldNot(err)
	}
	if len(found) > 0 {
		return errReported
	}
	return nil
}

// signed checks the signature where a key is given.
func (f auditVerifyFlags) signed(out io.Writer, path string, report []byte) error {
	if f.key == "" {
		if f.signature != "" {
			return usagef("--signature needs --key, the public key to check it with")
		}
		return nil
	}
	key, err := os.ReadFile(f.key)
	if err != nil {
		return couldNot(err)
	}
	name := f.signature
	if name == "" {
		name = path + ".sig"
	}
	note, err := os.ReadFile(name)
	if err != nil {
		return couldNot(err)
	}
	err = audit.VerifySignature(report, note, strings.TrimSpace(string(key)))
	if audit.CodeOf(err) == audit.CodeSignature {
		return &exitError{code: exitFailed, err: err}
	}
	if err != nil {
		return couldNot(err)
	}
	who, _, _ := strings.Cut(string(key), "+")
	_, err = fmt.Fprintf(out, "signed by %s\n", printable(strings.TrimSpace(who)))
	return couldNot(err)
}

func auditKeygenCommand() *cobra.Command {
	var name, out string
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make a key pair to sign reports with",
		Long: `Make an ed25519 key pair. OUT has the private half, for countersign audit --sign, and
nobody else may read it; OUT.pub has the public half, for audit verify --key. Files that
exist are left alone.

Exit codes: 0 done, 1 failed, 2 wrong usage.`,
		Example: `  countersign audit keygen --name auditor.example.org --out auditor`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name == "" || out == "" {
				return usagef("--name and --out are needed")
			}
			private, public, err := audit.GenerateKey(name)
			if err != nil {
				return usagef("%s", err)
			}
			if err := writeNew(out, private+"\n", 0o600); err != nil {
				return err
			}
			if err := writeNew(out+".pub", public+"\n", 0o644); err != nil {
				return errors.Join(err, os.Remove(out))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s has the private key, %s.pub the public one:\n%s\n", out, out, public)
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "whose key it is, without spaces and plus signs; it is part of the key")
	cmd.Flags().StringVar(&out, "out", "", "`file` for the private key; the public one gets .pub behind")
	return cmd
}

// writeNew writes a file that must not exist.
func writeNew(name, text string, mode os.FileMode) error {
	file, err := os.OpenFile(filepath.Clean(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}
