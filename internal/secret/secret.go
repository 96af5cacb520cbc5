// Package secret holds values that must never be shown.
//
// A String prints, logs, marshals and formats as a fixed mask, whatever verb
// or encoder is used; only Reveal gives the value away, so every use of a
// secret in the code is found by searching for that one word.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

const mask = "[secret]"

// String is a secret text. The zero value is the empty secret. It is safe for
// concurrent use, like the string that it is.
type String string

// Reveal returns the value itself.
func (s String) Reveal() string { return string(s) }

// IsZero reports whether no secret is set.
func (s String) IsZero() bool { return s == "" }

// String returns the mask, or nothing where no secret is set.
func (s String) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// Format writes the mask for every verb, %#v and %x included.
func (s String) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue keeps the value out of slog.
func (s String) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps the value out of every text encoder, JSON and YAML included.
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the value as it stands.
func (s *String) UnmarshalText(b []byte) error { *s = String(b); return nil }
