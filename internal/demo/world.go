package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/broker"
	"github.com/countersign/countersign/internal/emulator"
)

// world is every part of the demo, started. Parts that were not started yet are
// nil.
type world struct {
	opts   Options
	broker *broker.Broker
	kafka  *kafka.Client
	api    *emulator.Emulator
	calls  deviceCalls
	http   *http.Client // of all devices
	people []*person
	phones *phones
	host   *host
	web    *web // nil: there is no page
}

// startWorld starts broker, API, devices, host and page, in this order, and makes
// a note of each. They outlive ctx and end with stop, which must be called also
// after an error.
func startWorld(ctx context.Context, o Options, s *screen) (*world, error) {
	w := &world{opts: o, http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: enrolAtOnce, IdleConnTimeout: time.Minute}, Timeout: callTimeout,
	}}
	for _, start := range []func(context.Context, *screen) error{w.startBroker, w.startAPI, w.enrol, w.startHost, w.startWeb} {
		if err := ctx.Err(); err != nil {
			return w, err
		}
		if err := start(ctx, s); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (w *world) startBroker(ctx context.Context, s *screen) error {
	b, err := broker.Start(broker.Config{Topics: map[string]int32{
		demoTopics.requests: partitions, demoTopics.results: partitions, demoTopics.letters: partitions,
		demoTopics.ledger: partitions, demoTopics.positions: partitions,
	}, Configs: map[string]map[string]string{
		demoTopics.ledger: {"cleanup.policy": "compact,delete"}, demoTopics.positions: {"cleanup.policy": "compact"},
	}})
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	w.broker = b
	if w.kafka, err = kafka.NewClient(kafka.Config{Brokers: b.Addrs(), ClientID: "countersign-demo-pipeline"}); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	// A client that happened on another cluster would count somebody else's records.
	if id, err := w.kafka.Ping(ctx); err != nil || id != broker.ClusterID {
		return fmt.Errorf("demo: the embedded broker does not answer as itself (cluster %q): %w", id, err)
	}
	s.note("broker %s, %d partitions", b.Addrs()[0], partitions)
	return nil
}

func (w *world) startAPI(ctx context.Context, s *screen) error {
	api, err := emulator.New(emulator.Config{Seed: w.opts.Seed, Faults: faults(w.opts), BeforeWork: w.calls.see})
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	w.api = api
	if err := api.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	s.note("emulated Challenge API %s", api.URL())
	return nil
}

func (w *world) enrol(ctx context.Context, s *screen) (err error) {
	names := identities(w.opts.Seed, w.opts.People)
	if w.people, err = enrol(ctx, names, w.api.URL(), w.http); err != nil {
		return err
	}
	w.phones = newPhones(w.opts.Seed, w.people, w.api.CreatedAfter)
	s.note("%d people enrolled, each with a phone and an authenticator", len(w.people))
	return nil
}

func (w *world) startHost(ctx context.Context, s *screen) (err error) {
	doc := configuration(w.opts, w.broker.Addrs()[0], w.api.URL())
	if w.host, err = startHost(ctx, w.opts, doc, s.logger()); err != nil {
		return err
	}
	pid, err := w.host.ready(ctx)
	if err != nil {
		return err
	}
	s.note("plugin process %d has joined group %s", pid, group)
	return nil
}

// stopHost drains the plugin and returns once its process has ended; nil means
// that nothing was abandoned.
func (w *world) stopHost() error {
	if w.host == nil {
		return nil
	}
	return w.host.stop()
}

// stop ends what still runs, in the reverse order of the start.
func (w *world) stop(ctx context.Context) error {
	var errs []error
	if w.web != nil {
		errs = append(errs, w.web.page.Close(context.WithoutCancel(ctx)))
	}
	_ = w.stopHost() // whoever waited for the plugin has its error
	w.http.CloseIdleConnections()
	if w.api != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		errs = append(errs, w.api.Close(ctx))
	}
	if w.kafka != nil {
		errs = append(errs, w.kafka.Close())
	}
	if w.broker != nil {
		w.broker.Close()
	}
	return errors.Join(errs...)
}

// apiCalls is how many challenge calls the API has seen from anybody but the
// devices.
func (w *world) apiCalls() int {
	calls := w.api.Stats().Calls
	n := calls[emulator.OperationCreate] + calls[emulator.OperationFetch] + calls[emulator.OperationList] + calls[emulator.OperationUpdate]
	return int(n - w.calls.n.Load())
}

// created is the API's own list of the challenges that it has made.
func (w *world) created() []string {
	entries := w.api.Created()
	sids := make([]string, len(entries))
	for i, c := range entries {
		sids[i] = c.SID
	}
	return sids
}

// deviceCalls counts, inside the API, the challenge calls that devices make.
// Faults spare them, so each passes here.
type deviceCalls struct{ n atomic.Int64 }

func (d *deviceCalls) see(op emulator.Operation, r *http.Request) {
	user, _, _ := r.BasicAuth()
	switch op {
	case emulator.OperationCreate, emulator.OperationFetch, emulator.OperationList, emulator.OperationUpdate:
		if user == deviceUser {
			d.n.Add(1)
		}
	}
}

// deviceUser is the Basic user of every device.
const deviceUser = "token"
