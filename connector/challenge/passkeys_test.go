package challenge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/internal/emulator"
)

const passkeysIdentity = "passkeys-0001"

// newPasskeys starts an emulator with a passkeys factor and returns a client of
// it and a way to make passkeys challenges, which the client has not.
func newPasskeys(t *testing.T) (c *challenge.Client, factorSID string, create func(body string) read.Challenge) {
	t.Helper()
	e, err := emulator.New(emulator.Config{Rules: emulator.Rules{FetchDiscoverable: true}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	f, err := e.AddPasskeysFactor(passkeysIdentity)
	if err != nil {
		t.Fatal(err)
	}
	c, err = challenge.New(read.Config{AccountSID: emulator.DefaultAccountSID, Password: emulator.DefaultAuthToken, BaseURL: e.URL(), Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return c, f.SID, func(body string) read.Challenge {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			e.URL()+"/v2/Services/"+emulator.DefaultServiceSID+"/Passkeys/Challenges", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.SetBasicAuth(emulator.DefaultAccountSID, emulator.DefaultAuthToken)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		made, err := read.ParseChallenge(data)
		if err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		return made
	}
}

// whole fails unless the challenge came as it was made, with what no other type
// of challenge has.
func whole(t *testing.T, what string, got, made read.Challenge) {
	t.Helper()
	if string(got.Raw) != string(made.Raw) || !strings.Contains(string(got.Raw), `"options":{"publicKey":`) ||
		got.FactorType != read.FactorPasskeys || got.Status != read.StatusPending ||
		got.Details != nil || got.HiddenDetails != nil || got.Metadata != nil || got.ExpirationDate != nil || got.Links != nil {
		t.Errorf("%s: got  %s\nmade %s", what, got.Raw, made.Raw)
	}
}

func TestPasskeysAreFetchedAndListedWhole(t *testing.T) {
	c, factorSID, create := newPasskeys(t)
	mine := create(fmt.Sprintf(`{"identity":%q,"factor_sid":%q}`, passkeysIdentity, factorSID))
	anyOf := create(fmt.Sprintf(`{"identity":%q}`, passkeysIdentity))
	nobody := create(`{}`)
	for name, made := range map[string]read.Challenge{"of a factor": mine, "of an identity": anyOf, "of nobody": nobody} {
		got, err := c.Fetch(t.Context(), emulator.DefaultServiceSID, passkeysIdentity, made.SID)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		whole(t, name, got.Challenge, made)
	}
	if mine.FactorSID != factorSID || anyOf.Identity != passkeysIdentity || anyOf.FactorSID != "" || nobody.EntitySID+nobody.Identity+nobody.FactorSID != "" {
		t.Errorf("made %+v, %+v, %+v", mine, anyOf, nobody)
	}
	want := []read.Challenge{mine, anyOf}
	n := 0
	for got, err := range c.All(t.Context(), emulator.DefaultServiceSID, passkeysIdentity, read.ListParams{PageSize: 1}) {
		if err != nil || n == len(want) {
			t.Fatalf("number %d: %v", n, err)
		}
		whole(t, "listed", got, want[n])
		n++
	}
	if n != len(want) {
		t.Errorf("%d listed, want %d", n, len(want))
	}
}

// What the form endpoints can't do is said by the API, and sent no second time.
func TestPasskeysAreRefusedByTheForms(t *testing.T) {
	c, factorSID, create := newPasskeys(t)
	made := create(fmt.Sprintf(`{"identity":%q,"factor_sid":%q}`, passkeysIdentity, factorSID))
	_, onCreate := c.Create(t.Context(), emulator.DefaultServiceSID, passkeysIdentity, challenge.CreateParams{FactorSID: factorSID, Message: "Sign in?"})
	_, onUpdate := c.Update(t.Context(), emulator.DefaultServiceSID, passkeysIdentity, made.SID, challenge.UpdateParams{AuthPayload: "a.b.c"})
	for name, err := range map[string]error{"create": onCreate, "update": onUpdate} {
		var api *read.APIError
		if !errors.As(err, &api) || api.Status != 400 || api.Code != 60369 || !strings.Contains(api.Message, "passkeys") {
			t.Errorf("%s: %v", name, err)
		}
		if v := challenge.Classify(true, err); v.Class != challenge.ClassRejected || v.Failure {
			t.Errorf("%s: classified as %+v", name, v)
		}
	}
}
