package challenge_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
)

// The benchmarks make calls on loopback, 64 at once, beside the same exchange
// with bare net/http, which neither decodes nor checks the answer.

const atOnce = 64

func benchServer(b *testing.B) string {
	b.Helper()
	answer, err := os.ReadFile("read/testdata/approved_push.json")
	if err != nil {
		b.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	}))
	b.Cleanup(s.Close)
	return s.URL
}

func measure(b *testing.B, call func() error) {
	b.Helper()
	b.ReportAllocs()
	b.SetParallelism(atOnce)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := call(); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// The resource of testdata/approved_push.json.
var (
	benchService = "VA" + strings.Repeat("5e", 16)
	benchFactor  = "YF" + strings.Repeat("2c", 16)
	benchSID     = "YC" + strings.Repeat("3d", 16)
)

var benchParams = challenge.CreateParams{
	FactorSID: benchFactor, Message: "Open the north door?",
	Fields:        []read.Field{{Label: "Door", Value: "North"}, {Label: "Asked by", Value: "the guard"}},
	HiddenDetails: map[string]string{"countersign": "v1:9f3c", "ip": "198.51.100.7"},
}

func BenchmarkCreate(b *testing.B) {
	c := newOf(b, read.Config{BaseURL: benchServer(b)})
	measure(b, func() error {
		_, err := c.Create(b.Context(), benchService, identity, benchParams)
		return err
	})
}

func BenchmarkFetch(b *testing.B) {
	c := newOf(b, read.Config{BaseURL: benchServer(b)})
	measure(b, func() error {
		_, err := c.Fetch(b.Context(), benchService, identity, benchSID)
		return err
	})
}

func BenchmarkBareCreate(b *testing.B) {
	form := `Details.Fields=%7B%22label%22%3A%22Door%22%7D&Details.Message=Open+the+north+door%3F&FactorSid=` + benchFactor
	bare(b, http.MethodPost, form)
}

func BenchmarkBareFetch(b *testing.B) { bare(b, http.MethodGet, "") }

func bare(b *testing.B, method, form string) {
	b.Helper()
	url := benchServer(b) + "/v2/Services/" + benchService + "/Entities/" + identity + "/Challenges/" + benchSID
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * atOnce}}
	b.Cleanup(c.CloseIdleConnections)
	measure(b, func() error {
		req, err := http.NewRequestWithContext(b.Context(), method, url, strings.NewReader(form))
		if err != nil {
			return err
		}
		req.SetBasicAuth(account, "the0token")
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := c.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		_, err = io.ReadAll(resp.Body)
		return err
	})
}
