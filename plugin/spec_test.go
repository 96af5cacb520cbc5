package plugin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSpecValidate(t *testing.T) {
	good := Spec{Path: "x", SHA256: strings.Repeat("aB", 32), Env: []string{"A=", "B=c=d"}}
	if err := good.Validate(); err != nil {
		t.Errorf("a good spec: %v", err)
	}
	bad := Spec{
		SHA256:            "abc",
		Config:            make([]byte, MaxConfig+1),
		Env:               []string{"A", "=x", "PLUGIN_MIN_PORT=1", leaseFDEnv + "=3", "N=\x00"},
		TempDir:           "/" + strings.Repeat("d", maxTempDir),
		DrainTimeout:      -1,
		OrphanGrace:       -1,
		HeartbeatInterval: -1,
		StartTimeout:      -1,
		KillTimeout:       -1,
		BackoffMin:        time.Minute,
		BackoffMax:        time.Second,
	}
	var paths []string
	for _, v := range isCode(t, bad.Validate(), CodeConfig).Violations {
		paths = append(paths, v.Path)
	}
	want := "path sha256 config temp_dir env[0] env[1] env[2] env[3] env[4] drain_timeout orphan_grace heartbeat_interval start_timeout kill_timeout backoff_min"
	if got := strings.Join(paths, " "); got != want {
		t.Errorf("faults\n%s, want\n%s", got, want)
	}
	if _, err := NewSupervisor(bad); CodeOf(err) != CodeConfig {
		t.Errorf("%v", err)
	}
	isCode(t, Run(t.Context(), bad), CodeConfig)
}

func TestSpecDefaults(t *testing.T) {
	s := Spec{}.withDefaults()
	if s.DrainTimeout != DefaultDrainTimeout || s.BackoffMin != DefaultBackoffMin || s.BackoffMax != DefaultBackoffMax || s.TempDir == "" || s.Logger == nil {
		t.Errorf("%+v", s)
	}
	if secrets, err := s.Secrets(context.Background()); secrets != nil || err != nil {
		t.Errorf("%v, %v", secrets, err)
	}
	if s := (Spec{BackoffMax: time.Millisecond}).withDefaults(); s.BackoffMin != time.Millisecond {
		t.Errorf("a low maximum lifts the minimum above itself: %v", s.BackoffMin)
	}
	if s := (Spec{BackoffMin: time.Hour}).withDefaults(); s.BackoffMax != time.Hour {
		t.Errorf("a high minimum is above the maximum: %v", s.BackoffMax)
	}
}

func TestSHA256File(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if _, err := SHA256File(path); err == nil {
		t.Error("no file, no error")
	}
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("content"))
	got, err := SHA256File(path)
	if want := hex.EncodeToString(sum[:]); got != want || err != nil {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	if err := (Spec{Path: path, SHA256: strings.ToUpper(got)}).verify(); err != nil {
		t.Errorf("upper case: %v", err)
	}
}

// Pauses stay within their bounds, never shrink their ceiling, and start over
// after a long run only.
func TestBackoff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := backoff{min: time.Duration(rapid.Int64Range(1, 1e9).Draw(t, "min"))}
		b.max = b.min + time.Duration(rapid.Int64Range(0, 1e12).Draw(t, "more"))
		for ceiling := b.min; ; ceiling = min(2*ceiling, b.max) {
			p := b.pause()
			if p < ceiling/2 || p > ceiling {
				t.Fatalf("pause %v outside of [%v, %v]", p, ceiling/2, ceiling)
			}
			if ceiling == b.max {
				break
			}
		}
		b.reset(b.max)
		if p := b.pause(); p < b.max/2 {
			t.Fatalf("a short run reset it: %v", p)
		}
		b.reset(b.max + 1)
		if p := b.pause(); p > b.min {
			t.Fatalf("a long run did not reset it: %v", p)
		}
	})
}
