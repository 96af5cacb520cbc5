package demo

import (
	"context"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/countersign/countersign/connector"
)

// count makes the Summary. It goes on though ctx has ended.
func (d *demo) count(ctx context.Context, w *world, unsent bool) (*Summary, error) {
	early := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), countTimeout)
	defer cancel()
	found, err := gather(ctx, w.kafka, demoTopics, w.created())
	if err != nil {
		return nil, err
	}
	a := settle(found)
	unfinished := 0
	if early && len(a.Missing) > 0 {
		committed, err := positions(ctx, w.kafka, demoTopics.requests)
		if err != nil {
			return nil, err
		}
		a.Missing, unfinished = beyond(a.Missing, committed)
	}
	sum := d.summary(w)
	sum.fill(a)
	sum.Unfinished = unfinished
	sum.Interrupted = early && (unsent || unfinished > 0)
	if d.opts.inspect != nil {
		d.opts.inspect(ctx, w)
	}
	return sum, nil
}

const countTimeout = 30 * time.Second

// summary is everything but what is counted in the topics.
func (d *demo) summary(w *world) *Summary {
	st := w.host.supervisor.Status()
	approved, denied := w.answers()
	return &Summary{
		Calls:   w.apiCalls(),
		Retries: st.Counters.Retries, Breaker: breakerOf(st), BreakerOpens: st.Counters.BreakerOpens,
		P50: toMilliseconds(st.Latency.P50), P99: toMilliseconds(st.Latency.P99),
		Approved: approved, Denied: denied, Ignored: w.phones.ignored.Load(),
		PID: os.Getpid(), PluginPID: int(w.host.pid.Load()), PluginRestarts: w.host.supervisor.Restarts(),
		Seed: d.opts.Seed, ElapsedMS: time.Since(d.began).Milliseconds(),
	}
}

// toMilliseconds keeps what the estimate is good for: tenths.
func toMilliseconds(seconds float64) float64 { return math.Round(seconds*10_000) / 10 }

// progress is what the view shows now.
func (d *demo) progress() *progress {
	st := d.stage.Load()
	if st == nil {
		return nil
	}
	w := st.world
	api := w.api.Stats()
	approved, denied := w.answers()
	asked := d.askedInPage()
	p := &progress{
		Elapsed: time.Since(d.began), Phase: fmt.Sprint(st.phase.Load()), Seed: d.opts.Seed,
		Total: len(d.steps) + asked, Sent: int(st.feed.sent.Load()) + asked,
		Calls: w.apiCalls(), Creates: int(api.Creates), InFlight: int(api.Concurrent),
		Approved: approved, Denied: denied, Ignored: w.phones.ignored.Load(),
		Status: w.host.supervisor.Status(), PID: int(w.host.pid.Load()), Restarts: w.host.supervisor.Restarts(),
	}
	p.Answers, p.Outcomes, p.Letters = d.known.tally()
	for _, n := range p.Answers {
		p.Answered += n
	}
	if w.host.over() {
		// The last that a plugin says is that it drains.
		p.Status.State, p.Status.Lanes = connector.StateStopped, nil
	}
	return p
}
