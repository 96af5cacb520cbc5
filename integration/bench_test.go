package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/countersign/countersign/connector"
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

// BenchmarkExactlyOnceCost puts the two deliveries side by side: how many
// records a second each commits when there is always work, and how long after
// its request a result can be read when there is little. One iteration
// measures each twice, there and back, so the figures of one run are of one
// machine in one state; the embedded broker commits in microseconds, so on a real
// one the cost is higher.
func BenchmarkExactlyOnceCost(b *testing.B) {
	var rates, p50s, p99s [2]float64
	deliveries := []connector.Delivery{connector.DeliveryAtLeastOnce, connector.DeliveryExactlyOnce}
	turns := []int{0, 1, 1, 0}
	share := 2 / float64(b.N*len(turns))
	for range b.N {
		for _, i := range turns {
			rates[i] += share * deliveryRate(b, deliveries[i])
			p50, p99 := deliveryLatency(b, deliveries[i])
			p50s[i] += share * p50
			p99s[i] += share * p99
		}
	}
	b.ReportMetric(rates[0], "at-least-once/s")
	b.ReportMetric(rates[1], "exactly-once/s")
	b.ReportMetric(rates[1]/rates[0], "throughput-ratio")
	b.ReportMetric(p50s[0], "p50-ms")
	b.ReportMetric(p50s[1]-p50s[0], "added-p50-ms")
	b.ReportMetric(p99s[0], "p99-ms")
	b.ReportMetric(p99s[1]-p99s[0], "added-p99-ms")
}

// deliveryWorld has an API that takes 20 ms, as a near one would.
func deliveryWorld(b *testing.B, delivery connector.Delivery) (*world, connector.Config) {
	b.Helper()
	w := newWorld(b, emulator.Config{Faults: emulator.Faults{Latency: emulator.Latency{Fixed: 20 * time.Millisecond}}})
	cfg := w.config()
	cfg.Delivery = delivery
	a := cfg.Accounts["main"]
	a.Rate.Concurrency = 512
	cfg.Accounts["main"] = a
	return w, cfg
}

func deliveryRate(b *testing.B, delivery connector.Delivery) float64 {
	b.Helper()
	const n = 20000
	w, cfg := deliveryWorld(b, delivery)
	for i := 0; i < n; i += 1000 {
		w.sendRaw(w.batch(i, 1000)...)
	}
	m := w.run(cfg)
	done := func() (all int64) {
		for _, n := range m.Status().Counters.Outcomes {
			all += n
		}
		return all
	}
	// What it takes to join the group is no part of the rate.
	w.await("the first commits", func() bool { return done() > n/10 })
	began, at := time.Now(), done()
	w.await("every record to be committed", func() bool { return done() == n })
	rate := float64(n-at) / time.Since(began).Seconds()
	must(b, m.leave())
	return rate
}

// deliveryLatency sends 200 requests a second and returns the milliseconds
// from a request's record to the moment at which a read_committed reader has
// its result.
func deliveryLatency(b *testing.B, delivery connector.Delivery) (p50, p99 float64) {
	b.Helper()
	const n = 1000
	w, cfg := deliveryWorld(b, delivery)
	m := w.run(cfg)
	w.await("the lanes to work", func() bool { return len(m.Status().Lanes) == partitions })
	reader := w.franz(kgo.ConsumeTopics(w.topics.Results), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	sender := w.franz(kgo.DefaultProduceTopic(w.topics.Requests), kgo.ProducerLinger(0))
	var sending sync.WaitGroup
	sending.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := range n {
			<-tick.C
			r := encoded(w.create(i))
			r.Key, r.Timestamp = fmt.Appendf(nil, "key-%d", i), time.Now()
			sender.Produce(b.Context(), r, func(_ *kgo.Record, err error) {
				if err != nil {
					b.Error(err)
				}
			})
		}
	})
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	var took []float64
	for len(took) < n && ctx.Err() == nil {
		fetches := reader.PollFetches(ctx)
		now := time.Now()
		for r := range fetches.RecordsAll() {
			var res struct {
				Request struct{ Timestamp time.Time }
			}
			must(b, json.Unmarshal(r.Value, &res))
			took = append(took, now.Sub(res.Request.Timestamp).Seconds()*1000)
		}
	}
	sending.Wait()
	must(b, m.leave())
	if len(took) != n {
		b.Fatalf("%d of %d results", len(took), n)
	}
	slices.Sort(took)
	return took[n/2], took[n*99/100]
}
