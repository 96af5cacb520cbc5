package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/pflag"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/internal/phones"
)

// webIdentity has the phone of an emulator's page where no other is asked for.
const webIdentity = "customer-0001"

// webFlag is where a page with virtual phones is served, if anywhere.
type webFlag struct{ addr string }

// register adds the flag. Alone, without a value, it stands for the fallback.
func (f *webFlag) register(fl *pflag.FlagSet, fallback string) {
	fl.StringVar(&f.addr, "web", "", "serve a page with virtual phones, at this `address` if one is given with =")
	fl.Lookup("web").NoOptDefVal = fallback
}

// check refuses an address that others can reach, unless it is meant: the page
// has no login.
func (f webFlag) check(anywhere bool) error {
	if f.addr == "" {
		return nil
	}
	local, err := isLoopback(f.addr)
	switch {
	case err != nil:
		return usagef("--web=%s must be host:port, as in 127.0.0.1:4011", f.addr)
	case !local && !anywhere:
		return usagef("--web=%s can be reached from other machines, and the page has no login", f.addr)
	}
	return nil
}

// phonePage is the page of a running emulator; the zero value is none.
type phonePage struct {
	page   *phones.Page
	client *http.Client
}

const phoneTimeout = 5 * time.Second // of a phone's call

// servePhones makes a phone of every factor whose key is here, and serves them.
func (f webFlag) servePhones(ctx context.Context, api *emulator.Emulator, factors []enrolled) (*phonePage, error) {
	if f.addr == "" {
		return &phonePage{}, nil
	}
	p := &phonePage{client: &http.Client{Transport: &http.Transport{IdleConnTimeout: time.Minute}, Timeout: phoneTimeout}}
	cfg := phones.Config{Addr: f.addr, Created: api.CreatedAfter}
	for _, factor := range factors {
		if factor.key == nil {
			continue
		}
		d, err := device.Attach(device.Config{
			BaseURL: besideListener(api.Addr()), ServiceSID: factor.ServiceSID, Identity: factor.Identity, HTTPClient: p.client,
		}, factor.key, device.Factor{
			SID: factor.SID, AccountSID: factor.AccountSID, EntitySID: factor.EntitySID, CredentialSID: factor.CredentialSID,
		})
		if err != nil {
			return nil, fmt.Errorf("--web: %w", err)
		}
		cfg.Phones = append(cfg.Phones, phones.Phone{Identity: factor.Identity, Device: d, Command: fmt.Sprintf(
			"countersign send --wait --operation create --service-sid %s --identity %s --factor-sid %s --message \"Sign in?\"",
			factor.ServiceSID, factor.Identity, factor.SID)})
	}
	var err error
	if p.page, err = phones.New(cfg); err != nil {
		return nil, fmt.Errorf("--web: %w", err)
	}
	if err := p.page.Start(ctx); err != nil {
		return nil, fmt.Errorf("--web: %w", err)
	}
	return p, nil
}

// besideListener is how this process itself reaches its listener, whatever
// others call it.
func besideListener(at net.Addr) string {
	host, port, err := net.SplitHostPort(at.String())
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// url is where the page is; empty where there is none.
func (p *phonePage) url() string {
	if p.page == nil {
		return ""
	}
	return p.page.URL()
}

// close ends the page and waits for it.
func (p *phonePage) close(ctx context.Context) {
	if p.page == nil {
		return
	}
	_ = p.page.Close(ctx) // a listener that does not close goes with the process
	p.client.CloseIdleConnections()
}
