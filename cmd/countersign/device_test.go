package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

// phone starts a device of the stack's API.
func (s *stack) phone(t *testing.T, more ...string) *command {
	t.Helper()
	t.Setenv("EMULATOR_AUTH_TOKEN", testToken)
	return start(t, append([]string{"device", "--base-url", s.api.URL(), "--identity", testIdentity, "--poll", "20ms"}, more...)...)
}

// TestPushSignInFromSendToApproved is a whole push sign-in: a request event, the
// connector's create, the phone's signature, and a fetch that shows it.
func TestPushSignInFromSendToApproved(t *testing.T) {
	for decide, want := range map[string]string{"approve": "approved", "deny": "denied"} {
		t.Run(decide, func(t *testing.T) {
			s := newStack(t, nil)
			run := start(t, "run", "--config", "testdata/config.yaml")
			run.joined(t)
			phone := s.phone(t, "--decide", decide, "--count", "1")
			factor := phone.field(t, "factor_sid")
			cli(t, "", "send", "--wait", "--operation", "create", "--service-sid", s.factor.ServiceSID, "--identity", testIdentity,
				"--factor-sid", factor, "--message", "Sign in?", "--field", "Where=Bern").want(t, exitOK)
			e := phone.wait(t).want(t, exitOK)
			sid := strings.Fields(phone.out.line(t, want+" YC"))[1]
			if !strings.Contains(e.out, "  Sign in?\n  Where: Bern\n") || !strings.Contains(e.out, "challenge "+sid+", expires in ") {
				t.Errorf("the phone shows %s", e.out)
			}
			cli(t, "", "send", "--wait", "--operation", "fetch", "--service-sid", s.factor.ServiceSID, "--identity", testIdentity,
				"--challenge-sid", sid).want(t, exitOK)
			var fetched *schemas.Result
			for _, rec := range s.records(t, resultsTopic) {
				if res, _, err := schemas.DecodeResult(rec.Value); err != nil {
					t.Fatal(err)
				} else if res.Operation == schemas.OperationFetch {
					fetched = res
				}
			}
			if fetched == nil || !bytes.Contains(fetched.Challenge, []byte(`"status":"`+want+`"`)) {
				t.Errorf("fetched %+v", fetched)
			}
			run.end()
			run.wait(t).want(t, exitOK)
		})
	}
}

// ring makes challenges of a factor, as a backend would.
func (s *stack) ring(t *testing.T, factor string, messages ...string) {
	t.Helper()
	for _, message := range messages {
		body := strings.NewReader("FactorSid=" + factor + "&Details.Message=" + message)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			s.api.URL()+"/v2/Services/"+s.factor.ServiceSID+"/Entities/"+testIdentity+"/Challenges", body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(emulator.DefaultAccountSID, testToken)
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusCreated {
			t.Fatalf("create: %s", res.Status)
		}
	}
}

// TestDeviceStateIsTheSamePhone: a phone that was started again answers what rang
// meanwhile, and asks its owner about each.
func TestDeviceStateIsTheSamePhone(t *testing.T) {
	s := newStack(t, nil)
	state := filepath.Join(t.TempDir(), "phone.json")
	first := s.phone(t, "--state", state, "--decide", "ignore")
	factor := first.field(t, "factor_sid")
	first.end()
	first.wait(t).want(t, exitOK)
	if info, err := os.Stat(state); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	s.ring(t, factor, "one", "two", "three")
	e := cli(t, "what?\nY\nn\n", "device", "--base-url", s.api.URL(), "--identity", testIdentity, "--poll", "20ms", "--state", state).want(t, exitOK)
	for _, want := range []string{factor, "  one\napprove? y/n/i: approve? y/n/i: approved YC", "  two\napprove? y/n/i: denied YC", "  three\napprove? y/n/i: \n"} {
		if !strings.Contains(e.out, want) {
			t.Errorf("no %q in\n%s", want, e.out)
		}
	}
	other := cli(t, "", "device", "--base-url", s.api.URL(), "--identity", "customer-0002", "--state", state).want(t, exitFailed)
	if !strings.Contains(other.err, "of another identity") {
		t.Errorf("%s", other.err)
	}
	if err := os.WriteFile(state, []byte(`{"private_key": "secret stuff"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if e := cli(t, "", "device", "--base-url", s.api.URL(), "--identity", testIdentity, "--state", state).want(t, exitFailed); strings.Contains(e.err, "stuff") {
		t.Errorf("%s", e.err)
	}
}

// TestDeviceTOTP: the codes that it prints are those that the API takes.
func TestDeviceTOTP(t *testing.T) {
	for _, alg := range []string{"sha1", "sha256", "sha512"} {
		s := newStack(t, nil)
		run := start(t, "run", "--config", "testdata/config.yaml")
		run.joined(t)
		one := s.phone(t, "--totp", "--alg", alg, "--code-length", "8", "--time-step", "60", "--count", "1")
		factor := one.field(t, "factor_sid")
		code := strings.TrimSuffix(one.field(t, "code "), ",")
		one.wait(t).want(t, exitOK)
		if len(code) != 8 {
			t.Errorf("code %q", code)
		}
		e := cli(t, "", "send", "--wait", "--operation", "create", "--service-sid", s.factor.ServiceSID, "--identity", testIdentity,
			"--factor-sid", factor, "--auth-payload", code).want(t, exitOK)
		if strings.Contains(e.out+e.err, code) {
			t.Errorf("the code is printed: %s", e.out)
		}
		var last *schemas.Result
		for _, rec := range s.records(t, resultsTopic) {
			last, _, _ = schemas.DecodeResult(rec.Value)
		}
		if last == nil || !bytes.Contains(last.Challenge, []byte(`"status":"approved"`)) {
			t.Errorf("%s: %+v", alg, last)
		}
		run.end()
		run.wait(t).want(t, exitOK)
	}
}

func TestDeviceEndsEarly(t *testing.T) {
	s := newStack(t, nil)
	phone := s.phone(t, "--decide", "approve", "--count", "3")
	phone.field(t, "factor_sid")
	phone.end()
	if e := phone.wait(t).want(t, exitFailed); !strings.Contains(e.err, "0 of 3 answers") {
		t.Errorf("%s", e.err)
	}
	// The API goes away, and the phone says so and goes on.
	phone = s.phone(t, "--decide", "approve")
	phone.field(t, "factor_sid")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.api.Close(ctx); err != nil {
		t.Fatal(err)
	}
	phone.err.line(t, "transport")
	phone.end()
	phone.wait(t).want(t, exitOK)
}

func TestDeviceFlags(t *testing.T) {
	for _, tc := range []struct{ args, says string }{
		{"", "--identity"},
		{"--identity customer-0001 --base-url http://example.com", "https"},
		{"--identity customer-0001 --base-url ftp://127.0.0.1", "--base-url"},
		{"--identity customer-0001 --base-url https://example.com", "--username"},
		{"--identity customer-0001 --decide maybe", "--decide"},
		{"--identity customer-0001 --count -1", "--count"},
		{"--identity customer-0001 --poll 0", "--poll"},
		{"--identity customer-0001 --alg sha1", "--totp"},
		{"--identity customer-0001 --totp --state x", "--state"},
	} {
		if e := cli(t, "", append([]string{"device"}, strings.Fields(tc.args)...)...).want(t, exitUsage); !strings.Contains(e.err, tc.says) {
			t.Errorf("%s: %s", tc.args, e.err)
		}
	}
}
