package connector

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

// TestLookReachesBackInEitherOrder: the API does not say whether lists are ordered
// by creation or by the last update. An old challenge that was updated a moment ago
// must not be taken for the end of what is new.
func TestLookReachesBackInEitherOrder(t *testing.T) {
	for name, rules := range map[string]emulator.Rules{"by creation": {}, "by update": {OrderByUpdate: true}} {
		t.Run(name, func(t *testing.T) {
			now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
			api, err := emulator.New(emulator.Config{Rules: rules, Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			if err := api.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			client, err := challenge.New(read.Config{AccountSID: emulator.DefaultAccountSID, Password: emulator.DefaultAuthToken, BaseURL: api.URL()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				client.CloseIdleConnections()
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				if err := api.Close(ctx); err != nil {
					t.Error(err)
				}
			})
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			f, err := api.AddPushFactor("identity-0001", &key.PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			create := func(mark string) string {
				r, err := client.Create(t.Context(), f.ServiceSID, f.Identity, challenge.CreateParams{
					FactorSID: f.SID, Message: "m", HiddenDetails: map[string]string{schemas.MarkerKey: mark},
				})
				if err != nil {
					t.Fatal(err)
				}
				return r.Challenge.SID
			}
			old := create("old")
			now = now.Add(time.Minute)
			from := now
			wanted := create("wanted")
			for range lookPageSize {
				create("other")
			}
			now = now.Add(time.Second)
			if _, err := client.Update(t.Context(), f.ServiceSID, f.Identity, old, challenge.UpdateParams{Metadata: map[string]string{"os": "x"}}); err != nil {
				t.Fatal(err)
			}
			seen, err := apiCaller{client}.look(t.Context(), query{
				serviceSID: f.ServiceSID, identity: f.Identity, factorSID: f.SID, backTo: from, maxPages: 5,
			}, func() error { return nil })
			if err != nil || !seen.complete {
				t.Fatalf("%+v, %v", seen, err)
			}
			found := false
			for _, c := range seen.challenges {
				found = found || c.SID == wanted
			}
			if !found {
				t.Errorf("a complete look at %d challenges misses one that was created after the moment that it reaches back to", len(seen.challenges))
			}
		})
	}
}

// TestLookRefusedOnAFurtherPage: an answer about a page is none about the list,
// which has just been shown to hold something.
func TestLookRefusedOnAFurtherPage(t *testing.T) {
	for _, code := range []int{20404, 60374, 60391} {
		var pages atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if pages.Add(1)%2 == 1 {
				_, _ = fmt.Fprintf(w, `{"challenges":[],"meta":{"key":"challenges","next_page_url":"http://%s%s?PageToken=DN1"}}`, req.Host, req.URL.Path)
				return
			}
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprintf(w, `{"code":%d,"message":"no","status":404}`, code)
		}))
		client, err := challenge.New(read.Config{AccountSID: emulator.DefaultAccountSID, Password: emulator.DefaultAuthToken, BaseURL: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		_, err = apiCaller{client}.look(t.Context(), query{serviceSID: testService, identity: "identity-1", factorSID: testFactor, maxPages: 5}, func() error { return nil })
		if v := challenge.Classify(false, err); v.Class != challenge.ClassUnavailable || notFound(err) || pages.Load() != 2 {
			t.Errorf("code %d: %s after %d pages: %v", code, v.Class, pages.Load(), err)
		}
		client.CloseIdleConnections()
		server.Close()
	}
}

// TestNotFoundGoesByTheCode: what proves that nothing is there, and what does not.
func TestNotFoundGoesByTheCode(t *testing.T) {
	for _, tc := range []struct {
		status, code int
		want         bool
	}{
		{404, 20404, true},
		{404, 60390, true},
		{400, 60390, true},
		{404, 60392, true},
		{404, 60374, false},
		{404, 60367, false},
		{404, 0, false},
		{400, 60306, false},
	} {
		if got := notFound(apiErr(tc.status, tc.code)); got != tc.want {
			t.Errorf("%d/%d: %t", tc.status, tc.code, got)
		}
	}
}
