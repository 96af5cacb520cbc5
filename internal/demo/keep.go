package demo

import (
	"context"
	"fmt"
	"strings"

	"github.com/countersign/countersign/internal/emulator"
)

// keep stays up until ctx ends. It shows what came of the stream so far, and
// how to get at the parts with other tools. working ends where the plugin is
// gone.
func (d *demo) keep(ctx, working context.Context, w *world) error {
	// The plugin's own numbers come with its heartbeat.
	pauseUnless(ctx.Done(), heartbeat+heartbeat/4)
	found, err := gather(ctx, w.kafka, demoTopics, w.created())
	if err != nil && ctx.Err() == nil {
		return err
	}
	if err == nil {
		sum := d.summary(w)
		sum.fill(settle(found))
		d.notes(sum.text())
	}
	d.notes(connecting(w))
	d.phase("staying up until Ctrl-C")
	select {
	case <-ctx.Done():
		return nil
	case <-working.Done():
		return context.Cause(working)
	}
}

func (d *demo) notes(text string) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		d.screen.note("%s", line)
	}
}

// connecting says how to use the demo's parts from outside. The credentials are
// the emulator's defaults, which are in its documentation.
func connecting(w *world) string {
	broker, who := w.broker.Addrs()[0], w.people[0]
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("")
	line("Everything stays up. From another terminal:")
	line("  bootstrap    %s (no TLS, no SASL), group %s", broker, group)
	line("  topics       %s, %s, %s", demoTopics.requests, demoTopics.results, demoTopics.letters)
	line("  API          %s  account_sid %s  auth_token %s", w.api.URL(), emulator.DefaultAccountSID, emulator.DefaultAuthToken)
	line("  countersign tail --brokers %s --follow", broker)
	line("  countersign tail --brokers %s --topic deadletters --since beginning", broker)
	line("  countersign send --brokers %s --wait --operation list --service-sid %s --identity %s",
		broker, emulator.DefaultServiceSID, who.identity)
	line("  countersign send --brokers %s --wait --operation create --service-sid %s --identity %s --factor-sid %s --message \"Sign in?\"",
		broker, emulator.DefaultServiceSID, who.identity, who.phone.Factor().SID)
	line("  curl %s/_emulator/stats", w.api.URL())
	line("  curl -X POST '%s/_emulator/outage?for=10s&kind=graceful'", w.api.URL())
	if w.web != nil {
		line("Phones to press in a browser: %s", w.web.page.URL())
	}
	line("Ctrl-C ends it.")
	return b.String()
}
