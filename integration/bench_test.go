package integration

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/emulator"
)

// BenchmarkWholePath measures requests from the request topic to committed
// results on embedded parts, beside a bare HTTP loop that makes the same
// creates with the same number of calls in flight. Only the ratio within one
// run says anything: broker, API and connector share the machine's cores.
func BenchmarkWholePath(b *testing.B) {
	for _, c := range []struct {
		name     string
		latency  time.Duration
		inFlight int
	}{{"0ms", 0, 64}, {"20ms-64", 20 * time.Millisecond, 64}, {"20ms-512", 20 * time.Millisecond, 512}} {
		faults := emulator.Faults{Latency: emulator.Latency{Fixed: c.latency}}
		b.Run(c.name+"/bare-http", func(b *testing.B) { benchBare(b, faults, c.inFlight) })
		b.Run(c.name+"/countersign", func(b *testing.B) { benchConnector(b, faults, c.inFlight) })
	}
}

func benchConnector(b *testing.B, faults emulator.Faults, inFlight int) {
	b.Helper()
	w := newWorld(b, emulator.Config{Faults: faults})
	cfg := w.config()
	a := cfg.Accounts["main"]
	a.Rate.Concurrency = inFlight
	cfg.Accounts["main"] = a
	for i := 0; i < b.N; i += 1000 {
		batch := w.batch(i, min(1000, b.N-i))
		w.sendRaw(batch...)
	}
	b.ReportAllocs()
	b.ResetTimer()
	m := w.run(cfg)
	w.await("every record to be committed", func() bool {
		done := int64(0)
		for _, n := range m.Status().Counters.Outcomes {
			done += n
		}
		return done == int64(b.N)
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	must(b, m.leave())
	if got := w.count(); len(got.lost) > 0 || len(got.doubled) > 0 {
		b.Fatalf("lost %d, doubled %d", len(got.lost), len(got.doubled))
	}
}

func benchBare(b *testing.B, faults emulator.Faults, inFlight int) {
	b.Helper()
	w := newWorld(b, emulator.Config{Faults: faults})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: inFlight, MaxConnsPerHost: inFlight}}
	defer client.CloseIdleConnections()
	jobs := make(chan int)
	b.ReportAllocs()
	b.ResetTimer()
	var workers sync.WaitGroup
	for range inFlight {
		workers.Go(func() {
			for i := range jobs {
				w.bareCreate(b.Context(), b, client, i)
			}
		})
	}
	for i := range b.N {
		jobs <- i
	}
	close(jobs)
	workers.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func (w *world) bareCreate(ctx context.Context, b *testing.B, client *http.Client, i int) {
	b.Helper()
	f := w.factors[i%len(w.factors)]
	form := url.Values{"FactorSid": {f.SID}, "Details.Message": {"Sign in?"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		w.api.URL()+"/v2/Services/"+f.ServiceSID+"/Entities/"+f.Identity+"/Challenges", strings.NewReader(form.Encode()))
	if err != nil {
		b.Error(err)
		return
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(emulator.DefaultAccountSID, emulator.DefaultAuthToken)
	res, err := client.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusCreated {
		b.Errorf("status %d, %v", res.StatusCode, err)
	}
}
