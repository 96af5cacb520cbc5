package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// demo is one run.
type demo struct {
	opts   Options
	steps  []step
	began  time.Time
	known  *tracker
	screen *screen
	stage  atomic.Pointer[stage] // nil until the world stands
}

// stage is what progress is read from.
type stage struct {
	world *world
	feed  *feed
	phase atomic.Value // string
}

// interruptGrace is how long an interrupted demo waits for answers to what it
// has sent.
const interruptGrace = 3 * time.Second

// Run runs the demo until every request has its answer, its deadline passes or
// ctx ends, stops every part of it, and counts. Whether all promises were kept
// is in Summary.Problems; an error means that the demo itself did not work, that
// the plugin left work behind, or that Options.Abort was used. A Summary is
// returned, beside an error too, whenever something was counted.
func Run(ctx context.Context, o Options) (*Summary, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	d := &demo{opts: o, steps: plan(o.Seed, o.Requests, o.People), began: time.Now(), known: newTracker()}
	d.screen = newScreen(newView(o), d.progress)
	defer d.screen.close()
	w, err := startWorld(ctx, o, d.screen)
	var sum *Summary
	switch {
	case err == nil:
		sum, err = d.play(ctx, w)
	case ctx.Err() != nil:
		err = fmt.Errorf("demo: interrupted before anything was sent: %w", err)
	}
	return sum, errors.Join(err, w.stop(ctx))
}

// play sends the stream, sees it answered, ends sender, devices and host in
// this order, and counts.
func (d *demo) play(ctx context.Context, w *world) (*Summary, error) {
	st := &stage{world: w, feed: d.newFeed(w)}
	d.stage.Store(st)
	d.phase("sending")

	var helpers sync.WaitGroup
	reading, stopReading := context.WithCancel(context.WithoutCancel(ctx))
	ringing, stopRinging := context.WithCancel(reading)
	defer helpers.Wait()
	defer stopReading()
	helpers.Go(func() { d.known.follow(reading, w.kafka, demoTopics) })
	if w.web != nil {
		helpers.Go(func() { w.web.follow(reading, w.kafka, demoTopics) })
	}
	lastRing, phonesDown := make(chan struct{}), make(chan struct{})
	helpers.Go(func() { defer close(phonesDown); w.phones.run(ringing, lastRing) })
	working, stopWorking := context.WithCancelCause(reading)
	defer stopWorking(nil)
	helpers.Go(func() { d.guard(reading, w.host, stopWorking) })

	// Whoever is still at the page when the end begins would ask for what nobody calls any more.
	defer context.AfterFunc(ctx, w.drainWeb)()
	err := w.ringFirst(ctx)
	if err == nil {
		err = d.stream(ctx, working, st.feed)
	}
	if err == nil && d.opts.Keep && ctx.Err() == nil {
		err = d.keep(ctx, working, w)
	}
	d.phase("draining")
	w.drainWeb()
	close(lastRing)
	if ctx.Err() == nil && err == nil {
		pauseUnless(phonesDown, phoneGrace)
	}
	stopRinging()
	<-phonesDown
	stopErr := w.stopHost()
	stopReading()
	helpers.Wait()
	if errors.Is(err, errGivenUp) {
		return nil, err // whoever gives up does not want to wait for figures
	}
	d.phase("counting")
	sum, countErr := d.count(ctx, w, int(st.feed.sent.Load()) < len(d.steps))
	d.phase("done")
	return sum, errors.Join(err, stopErr, countErr)
}

func (d *demo) newFeed(w *world) *feed {
	f := &feed{
		seed: d.opts.Seed, steps: d.steps, people: w.people, topic: demoTopics.requests, rate: d.opts.Rate,
		send:  func(ctx context.Context, m []kafka.Message) error { return w.kafka.Produce(ctx, m) },
		known: d.known,
	}
	if d.opts.Outage > 0 {
		f.halfway = func() error {
			d.screen.note("the API goes away for %v", d.opts.Outage)
			return w.api.Outage(d.opts.Outage)
		}
	}
	return f
}

// phoneGrace is how long the last phones may take to answer.
const phoneGrace = 3 * time.Second

// pauseUnless waits for d, or less where done is closed first.
func pauseUnless(done <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

var errGivenUp = errors.New("demo: given up, nothing was counted")

// guard ends the work when the plugin is gone for good, or when the user gives
// up; then it kills the plugin, so that nothing is waited for.
func (d *demo) guard(ctx context.Context, h *host, stop context.CancelCauseFunc) {
	select {
	case <-ctx.Done():
	case <-h.ended:
		stop(errors.New("demo: the plugin has ended"))
	case <-d.opts.Abort:
		stop(errGivenUp)
		h.cancel()
		h.kill()
	}
}

// stream sends every step and waits until all have their answers, the deadline
// has passed or ctx has ended; none of these is an error. working ends where
// no answer can come any more.
func (d *demo) stream(ctx, working context.Context, f *feed) error {
	sending, cancel := context.WithTimeout(working, d.opts.Deadline)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	if err := f.run(sending); err != nil {
		return err
	}
	d.phase("waiting for answers")
	err := d.answers(sending, f)
	if ctx.Err() != nil && err == nil {
		d.phase("interrupted, waiting for the last answers")
		grace, cancel := context.WithTimeout(working, interruptGrace)
		defer cancel()
		err = d.answers(grace, f)
	}
	if err == nil && working.Err() != nil {
		err = context.Cause(working)
	}
	if sent := int(f.sent.Load()); err == nil && ctx.Err() == nil && sent < len(d.steps) {
		err = fmt.Errorf("demo: the deadline of %v passed with %d of %d requests sent", d.opts.Deadline, sent, len(d.steps))
	}
	return err
}

// answers waits until everything that was sent has its answer, or ctx has ended.
func (d *demo) answers(ctx context.Context, f *feed) error {
	for d.known.count() < int(f.sent.Load())+d.askedInPage() {
		select {
		case <-d.known.changed:
		case <-ctx.Done():
			return nil
		}
		if err := d.known.err(); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) phase(name string) {
	if st := d.stage.Load(); st != nil {
		st.phase.Store(name)
	}
}
