package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/countersign/countersign/internal/emulator"
)

// emulate serves the emulated API with a push factor for each key.
func emulate(ctx context.Context, m *meter, s spec) error {
	api, err := emulator.New(emulator.Config{
		LogLimit: 1, Faults: emulator.Faults{Latency: emulator.Latency{Fixed: s.Latency}},
	})
	if err != nil {
		return err
	}
	if err := api.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	out := said{Ready: true, URL: api.URL()}
	for i := range s.Keys {
		f, err := api.AddPushFactor(fmt.Sprintf("identity-%05d", i), &key.PublicKey)
		if err != nil {
			return err
		}
		out.Factors = append(out.Factors, factor{Service: f.ServiceSID, Identity: f.Identity, SID: f.SID})
	}
	if err := m.say(out); err != nil {
		return err
	}
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return api.Close(ctx)
}
