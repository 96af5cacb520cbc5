package plugin

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/countersign/countersign/connector"
)

func TestErrorText(t *testing.T) {
	one := []connector.Violation{{Path: "a.b", Message: "is bad"}}
	for want, e := range map[string]*Error{
		"plugin: hung":                             {Code: CodeHung},
		"plugin: crashed: gone: stub":              {Code: CodeCrashed, Message: "gone", Err: errStub},
		"plugin: abandoned (3 records)":            {Code: CodeAbandoned, Abandoned: 3},
		"plugin: abandoned: nobody knows":          {Code: CodeAbandoned, Abandoned: -1, Message: "nobody knows"},
		"plugin: config: a.b: is bad":              {Code: CodeConfig, Violations: one},
		"plugin: config: a.b: is bad (and 2 more)": {Code: CodeConfig, Violations: append(one, one[0], one[0])},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The cause stays reachable, and every error has a code.
func TestErrorIdentity(t *testing.T) {
	wrapped := fmt.Errorf("x: %w", &Error{Code: CodeHung, Err: errStub})
	if !errors.Is(wrapped, errStub) || CodeOf(wrapped) != CodeHung {
		t.Errorf("%v", wrapped)
	}
	for want, err := range map[Code]error{
		"":           nil,
		CodeInternal: errStub,
		CodeCanceled: fmt.Errorf("x: %w", context.Canceled),
		CodeTimeout:  context.DeadlineExceeded,
	} {
		isCode(t, err, want)
	}
}

func TestRetryable(t *testing.T) {
	want := map[Code]bool{
		CodeInternal: true, CodeCrashed: true, CodeHung: true, CodeTimeout: true, CodeCanceled: true,
		CodeAbandoned: true, CodeNotRunning: true, CodeHandshake: true, CodeSecrets: true,
		CodeConfig: false, CodeChecksum: false, CodeVersion: false, CodeCapability: false,
		CodeState: false, CodeLease: false, CodeUnimplemented: false, "something else": false,
	}
	for code, retryable := range want {
		if got := (&Error{Code: code}).Retryable(); got != retryable {
			t.Errorf("%s: %v", code, got)
		}
		flipped := !retryable
		if got := (&Error{Code: code, Retry: &flipped}).Retryable(); got != flipped {
			t.Errorf("%s: the plugin's word does not count", code)
		}
	}
}
