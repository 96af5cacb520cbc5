package plugin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/countersign/countersign/connector"
)

// Defaults of a Spec's zero fields.
const (
	DefaultDrainTimeout      = 25 * time.Second
	DefaultOrphanGrace       = 25 * time.Second
	DefaultHeartbeatInterval = 2 * time.Second
	DefaultStartTimeout      = 30 * time.Second
	DefaultKillTimeout       = 5 * time.Second
	DefaultBackoffMin        = 200 * time.Millisecond
	DefaultBackoffMax        = 30 * time.Second
)

// MaxConfig is the longest document that is handed over: what gRPC takes in one
// message, with room for the secrets.
const MaxConfig = 2 << 20

// maxTempDir leaves room for go-plugin's folder and file name below the 104
// bytes that a socket's path may have on every Unix.
const maxTempDir = 64

// Spec says which plugin a host runs and how. Path and SHA256 are required;
// everything else has a default.
type Spec struct {
	// Path is the plugin's binary.
	Path string
	// Args are its arguments. Every process of the machine can read them: no
	// secrets here.
	Args []string
	// SHA256 is the hexadecimal digest that the binary must have (see
	// SHA256File). It is checked before every start. It does not protect
	// against somebody who can write to Path between the check and the start.
	SHA256 string
	// Env is the plugin's whole environment, as KEY=value; the host's is not
	// inherited. No secrets here either.
	Env []string
	// TempDir is where the folder of the socket is made. Empty: os.TempDir. It
	// must be short, at most 64 bytes, for a socket's path is short.
	TempDir string

	// Config is the configuration document, YAML or JSON, of at most MaxConfig
	// bytes.
	Config []byte
	// Secrets returns the values of the document's placeholders by their name,
	// e.g. "env:API_KEY". It is called anew for every start, so that a rotated
	// secret is picked up. nil: none.
	Secrets func(ctx context.Context) (map[string]string, error)

	// DrainTimeout is how long the plugin may take to finish its work when the
	// host ends. Zero: DefaultDrainTimeout.
	DrainTimeout time.Duration
	// OrphanGrace is the same for a plugin whose host is gone; at most three
	// seconds after it the plugin has ended. Keep both within the consumer
	// group's rebalance timeout. Zero: DefaultOrphanGrace.
	OrphanGrace time.Duration
	// HeartbeatInterval is how often the plugin has to show that it lives.
	// After three of them in silence it is killed and replaced. Zero:
	// DefaultHeartbeatInterval.
	HeartbeatInterval time.Duration
	// StartTimeout bounds everything from the start of the process to the end
	// of the Start call. Zero: DefaultStartTimeout.
	StartTimeout time.Duration
	// KillTimeout bounds the orderly end of a process that has nothing more to
	// do, before its process group is killed. Zero: DefaultKillTimeout.
	KillTimeout time.Duration
	// BackoffMin and BackoffMax bound the pause before a restart. It doubles
	// with each failure in a row and is jittered. Zero: DefaultBackoffMin and
	// DefaultBackoffMax.
	BackoffMin, BackoffMax time.Duration

	// Logger takes the host's own lines and those of the plugin. nil: none.
	Logger *slog.Logger
	// OnStatus is called with the latest status whenever it has changed, by one
	// goroutine at a time. While it runs newer ones replace each other, so a
	// slow callback misses some, but never the last. nil: none.
	OnStatus func(connector.Status)
}

// SHA256File returns the digest of a file as Spec.SHA256 wants it.
func SHA256File(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Validate reports every fault of the Spec as a CodeConfig error, nil for none.
// It does not look at Config, which is the plugin's to judge, nor at the file.
func (s Spec) Validate() error {
	var faults []connector.Violation
	fault := func(path, format string, args ...any) {
		faults = append(faults, connector.Violation{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if s.Path == "" {
		fault("path", "names no file")
	}
	if sum, err := hex.DecodeString(s.SHA256); err != nil || len(sum) != sha256.Size {
		fault("sha256", "want %d hexadecimal digits", 2*sha256.Size)
	}
	if len(s.Config) > MaxConfig {
		fault("config", "is longer than %d bytes", MaxConfig)
	}
	if dir := s.withDefaults().TempDir; len(dir) > maxTempDir {
		fault("temp_dir", "%q is longer than %d bytes, too long for a socket's path", dir, maxTempDir)
	}
	for i, entry := range s.Env {
		switch key, _, ok := strings.Cut(entry, "="); {
		case !ok || key == "" || strings.ContainsRune(entry, 0):
			fault(fmt.Sprintf("env[%d]", i), "want KEY=value")
		case strings.HasPrefix(key, "PLUGIN_") || strings.HasPrefix(key, handshake.MagicCookieKey):
			fault(fmt.Sprintf("env[%d]", i), "%s belongs to the handshake", key)
		}
	}
	durations := []struct {
		name  string
		value time.Duration
	}{
		{"drain_timeout", s.DrainTimeout},
		{"orphan_grace", s.OrphanGrace},
		{"heartbeat_interval", s.HeartbeatInterval},
		{"start_timeout", s.StartTimeout},
		{"kill_timeout", s.KillTimeout},
		{"backoff_min", s.BackoffMin},
		{"backoff_max", s.BackoffMax},
	}
	for _, d := range durations {
		if d.value < 0 {
			fault(d.name, "must not be negative")
		}
	}
	if d := s.withDefaults(); d.BackoffMin > d.BackoffMax {
		fault("backoff_min", "must not be above backoff_max, which is %v", d.BackoffMax)
	}
	if len(faults) > 0 {
		return &Error{Code: CodeConfig, Message: "the host's spec", Violations: faults}
	}
	return nil
}

// withDefaults fills in every zero field that has a default.
func (s Spec) withDefaults() Spec {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&s.DrainTimeout, DefaultDrainTimeout)
	set(&s.OrphanGrace, DefaultOrphanGrace)
	set(&s.HeartbeatInterval, DefaultHeartbeatInterval)
	set(&s.StartTimeout, DefaultStartTimeout)
	set(&s.KillTimeout, DefaultKillTimeout)
	set(&s.BackoffMax, max(DefaultBackoffMax, s.BackoffMin))
	set(&s.BackoffMin, min(DefaultBackoffMin, s.BackoffMax))
	if s.TempDir == "" {
		s.TempDir = os.TempDir()
	}
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	if s.Secrets == nil {
		s.Secrets = func(context.Context) (map[string]string, error) { return nil, nil }
	}
	return s
}

// verify compares the binary with its digest, freshly read.
func (s Spec) verify() error {
	sum, err := SHA256File(s.Path)
	if err != nil {
		return &Error{Code: CodeChecksum, Message: "the plugin cannot be read", Err: err}
	}
	if !strings.EqualFold(sum, s.SHA256) {
		return &Error{Code: CodeChecksum, Message: fmt.Sprintf("%s has the SHA-256 %s, not the one in the spec", s.Path, sum)}
	}
	return nil
}
