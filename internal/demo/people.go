package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

// person is an identity with a phone and an authenticator app.
type person struct {
	identity string
	phone    *device.Device
	app      *device.Authenticator
}

// identities are the names of a seed's people.
func identities(seed uint64, n int) []string {
	rng := rand.New(rand.NewPCG(seed, 0x1de)) //nolint:gosec // reproducible on purpose
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("customer-%04d-%06x", i+1, rng.IntN(1<<24))
	}
	return out
}

const (
	enrolAtOnce = 8
	// codeStep, in seconds, keeps a code good while its request waits in the
	// topic through a short outage.
	codeStep = 60
)

// enrol makes everybody's factors through the API, as their apps would.
func enrol(ctx context.Context, names []string, baseURL string, client *http.Client) ([]*person, error) {
	people := make([]*person, len(names))
	failures := make([]error, len(names))
	slots := make(chan struct{}, enrolAtOnce)
	var all sync.WaitGroup
	for i, name := range names {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			people[i], failures[i] = enrolOne(ctx, name, baseURL, client)
		})
	}
	all.Wait()
	return people, errors.Join(failures...)
}

func enrolOne(ctx context.Context, name, baseURL string, client *http.Client) (*person, error) {
	cfg := device.Config{
		BaseURL: baseURL, ServiceSID: emulator.DefaultServiceSID, Identity: name,
		Username: emulator.DefaultAccountSID, Password: emulator.DefaultAuthToken, HTTPClient: client,
	}
	phone, err := device.Enrol(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("demo: enrol a phone: %w", err)
	}
	app, err := device.EnrolTOTP(ctx, cfg, device.TOTPOptions{TimeStep: codeStep})
	if err != nil {
		return nil, fmt.Errorf("demo: enrol an authenticator: %w", err)
	}
	return &person{identity: name, phone: phone, app: app}, nil
}

// facts are what a request about the person can be written from at a moment.
func (p *person) facts(now time.Time, sid string) (facts, error) {
	code, err := p.app.Code(now)
	if err != nil {
		return facts{}, fmt.Errorf("demo: a TOTP code: %w", err)
	}
	return facts{
		service: emulator.DefaultServiceSID, identity: p.identity,
		push: p.phone.Factor().SID, totp: p.app.Factor().SID, code: code, sid: sid, now: now,
	}, nil
}
