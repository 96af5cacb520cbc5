package emulator_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/internal/emulator"
)

// BenchmarkCreateHandler is the emulator's own cost of a create.
func BenchmarkCreateHandler(b *testing.B) {
	a := handled(b, emulator.Config{LogLimit: 1000})
	ids, bodies := manyFactors(b, a, 64)
	var next atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := next.Add(1) % int64(len(ids))
			r := httptest.NewRequest(http.MethodPost, challenges(ids[i]), strings.NewReader(bodies[i]))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth(a.user, a.pass)
			w := httptest.NewRecorder()
			a.e.ServeHTTP(w, r)
			if w.Code != http.StatusCreated {
				b.Fatal(w.Code, w.Body.String())
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
}

// BenchmarkCreateLoopback adds net/http on both sides of a socket.
func BenchmarkCreateLoopback(b *testing.B) {
	a := started(b, emulator.Config{LogLimit: 1000})
	ids, bodies := manyFactors(b, a, 64)
	var next atomic.Int64
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := next.Add(1) % int64(len(ids))
			r, err := http.NewRequest(http.MethodPost, a.base+challenges(ids[i]), strings.NewReader(bodies[i]))
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth(a.user, a.pass)
			answer, err := a.client.Do(r)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusCreated {
				b.Fatal(answer.Status)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
}

func manyFactors(b *testing.B, a *api, n int) (ids, bodies []string) {
	b.Helper()
	for i := range n {
		id := fmt.Sprintf("bench-identity-%d", i)
		f, err := a.e.AddPushFactor(id, &newKey(b).PublicKey)
		if err != nil {
			b.Fatal(err)
		}
		ids = append(ids, id)
		form := with(pushForm(f.SID), "HiddenDetails", `{"ip":"10.0.0.1","marker":"0123456789abcdef"}`)
		bodies = append(bodies, with(form, "Details.Fields", `{"label":"Action","value":"Sign in"}`).Encode())
	}
	return ids, bodies
}
