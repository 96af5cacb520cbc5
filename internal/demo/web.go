package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
	phonepage "github.com/countersign/countersign/internal/phones"
	"github.com/countersign/countersign/schemas"
)

// web is the page on which people decide. Its phones are none of the stream's:
// what the seed says stays as it is, and nobody answers for the person.
type web struct {
	page   *phonepage.Page
	phones []phonepage.Phone
	sent   atomic.Int64 // requests of the page that the broker has
}

// webIdentities are the page's phones.
var webIdentities = []string{"web-phone-1", "web-phone-2"}

// firstAsks are the requests that wait on the phones when the page is opened.
var firstAsks = []struct {
	phone   int
	message string
	fields  []schemas.Field
}{
	{0, "Sign in to the online shop?", []schemas.Field{{Label: "Browser", Value: "Firefox on Linux"}, {Label: "Place", Value: "Oslo"}}},
	{1, "Approve the payment of 42.50 EUR?", []schemas.Field{{Label: "To", Value: "Book shop"}, {Label: "Amount", Value: "42.50 EUR"}}},
}

const firstExpiry = 15 * time.Minute

// startWeb enrols the page's phones and serves it, where Options.Web asks for it.
func (w *world) startWeb(ctx context.Context, s *screen) error {
	if w.opts.Web == "" {
		return nil
	}
	v := &web{}
	for _, name := range webIdentities {
		phone, err := device.Enrol(ctx, device.Config{
			BaseURL: w.api.URL(), ServiceSID: emulator.DefaultServiceSID, Identity: name,
			Username: emulator.DefaultAccountSID, Password: emulator.DefaultAuthToken, HTTPClient: w.http,
		})
		if err != nil {
			return fmt.Errorf("demo: enrol a phone of the page: %w", err)
		}
		v.phones = append(v.phones, phonepage.Phone{Identity: name, Device: phone, Command: fmt.Sprintf(
			"countersign send --brokers %s --wait --operation create --service-sid %s --identity %s --factor-sid %s --message \"Sign in?\"",
			w.broker.Addrs()[0], emulator.DefaultServiceSID, name, phone.Factor().SID)})
	}
	page, err := phonepage.New(phonepage.Config{
		Addr: w.opts.Web, Phones: v.phones, Created: w.api.CreatedAfter, Hidden: hiddenID,
		Send: func(ctx context.Context, a phonepage.Ask) error { return v.send(ctx, w.kafka, a, nil) },
	})
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	v.page = page
	if err := page.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	w.web = v
	s.note("phones to press in a browser: %s", page.URL())
	return nil
}

// drainWeb ends what the page's form may send, and waits for what is on its way: that
// is counted.
func (w *world) drainWeb() {
	if w.web != nil {
		w.web.page.Drain()
	}
}

// ringFirst sends what waits on the page's phones when somebody opens it.
func (w *world) ringFirst(ctx context.Context) error {
	if w.web == nil {
		return nil
	}
	for _, a := range firstAsks {
		phone := w.web.phones[a.phone]
		ask := phonepage.Ask{Identity: phone.Identity, FactorSID: phone.Device.Factor().SID, Message: a.message, Expires: firstExpiry}
		if err := w.web.send(ctx, w.kafka, ask, a.fields); err != nil {
			return fmt.Errorf("demo: the first requests of the page: %w", err)
		}
	}
	return nil
}

// send writes a request to the topic, as any pipeline would. It is counted at
// the end with all the others.
func (v *web) send(ctx context.Context, client *kafka.Client, a phonepage.Ask, fields []schemas.Field) error {
	now := time.Now()
	expires := now.Add(a.Expires).UTC().Truncate(time.Second)
	r := &schemas.Request{
		ID: "web-" + rand.Text(), Operation: schemas.OperationCreate, ServiceSID: emulator.DefaultServiceSID, Identity: a.Identity,
		Create: &schemas.Create{
			FactorSID: a.FactorSID, Details: &schemas.Details{Message: a.Message, Fields: fields}, ExpirationDate: &expires,
		},
	}
	r.Create.HiddenDetails = map[string]string{hiddenID: r.ID}
	value, err := r.Encode()
	if err != nil {
		return err
	}
	// A record that is on its way when the person leaves must still be counted.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
	defer cancel()
	if err := client.Produce(ctx, []kafka.Message{{Topic: demoTopics.requests, Key: []byte(a.Identity), Value: value}}); err != nil {
		return err
	}
	v.sent.Add(1)
	return nil
}

// follow shows what stands in the topics of the page's phones, until ctx ends.
// What can't be read is none of it; the tracker tells.
func (v *web) follow(ctx context.Context, client *kafka.Client, names topics) {
	ref := func(partition int, offset int64) string { return fmt.Sprintf("%d@%d", partition, offset) }
	followTopics(ctx, client, map[string]func(kafka.Record){
		names.requests: func(rec kafka.Record) {
			r, _, err := schemas.DecodeRequest(rec.Value)
			if err != nil || r.Operation != schemas.OperationCreate || r.Create == nil {
				return
			}
			shown := phonepage.Requested{
				Ref: ref(rec.Partition, rec.Offset), ID: r.ID, Identity: r.Identity, FactorSID: r.Create.FactorSID, At: rec.Timestamp,
			}
			if r.Create.Details != nil {
				shown.Message = r.Create.Details.Message
			}
			v.page.Requested(shown)
		},
		names.results: func(rec kafka.Record) {
			if r, _, err := schemas.DecodeResult(rec.Value); err == nil && r.Operation == schemas.OperationCreate {
				v.page.Result(phonepage.Result{
					Ref: ref(r.Request.Partition, r.Request.Offset), Identity: string(rec.Key), SID: challengeSID(r.Challenge), Says: string(r.Outcome),
				})
			}
		},
		names.letters: func(rec kafka.Record) {
			if d, _, err := schemas.DecodeDeadLetter(rec.Headers); err == nil && !d.HasResult {
				v.page.Result(phonepage.Result{Ref: ref(d.Partition, d.Offset), Says: "dead letter"})
			}
		},
	}, func(error) {})
}

// askedInPage is how many requests came from the page so far.
func (d *demo) askedInPage() int {
	if st := d.stage.Load(); st != nil && st.world.web != nil {
		return int(st.world.web.sent.Load())
	}
	return 0
}

// answers is how many challenges the stream's people and those at the page have
// approved and denied.
func (w *world) answers() (approved, denied int64) {
	if w.web != nil {
		approved, denied = w.web.page.Answered()
	}
	return approved + w.phones.approved.Load(), denied + w.phones.denied.Load()
}
