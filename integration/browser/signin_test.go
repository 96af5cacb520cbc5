package browser

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/broker"
	"github.com/countersign/countersign/schemas"
)

// TestSignIn: a whole push sign-in through the real programs. countersign send
// asks for it, the host's plugin creates the challenge, a person presses the
// button by keyboard in the page of the emulator, and a fetch shows approved.
func TestSignIn(t *testing.T) {
	chromium(t)
	b, err := broker.Start(broker.Config{
		Topics: map[string]int32{
			"challenge.requests": 2, "challenge.results": 2, "challenge.deadletters": 2, "challenge.ledger": 2, "challenge.positions": 2,
		},
		Configs: map[string]map[string]string{
			"challenge.ledger": {"cleanup.policy": "compact,delete"}, "challenge.positions": {"cleanup.policy": "compact"},
		},
	})
	must(t, err)
	t.Cleanup(b.Close)
	api := start(t, nil, "emulator", "--listen", "127.0.0.1:0", "--web=127.0.0.1:0", "--push-factor", "customer-0001")
	page, factor, service := api.field("web  "), api.field("(push)"), api.field("service_sid")
	env := []string{
		"COUNTERSIGN_KAFKA__BROKERS=" + strings.Join(b.Addrs(), ","),
		"COUNTERSIGN_ACCOUNTS__MAIN__BASE_URL=" + api.field("base_url"),
		"CHALLENGE_AUTH_TOKEN=" + api.field("auth_token"),
	}
	host := start(t, env, "host", "--config", "../../cmd/countersign/testdata/config.yaml")
	host.line("joined the consumer group")

	chrome := newTab(t, 1000, 800)
	chrome.do(chromedp.Navigate(page))
	chrome.await("phone", "document.querySelector('.phone h3').textContent === 'customer-0001'")
	sent := start(t, env, "send", "--wait", "--operation", "create", "--id", "sign-in", "--service-sid", service,
		"--identity", "customer-0001", "--factor-sid", factor, "--message", "Sign in to the shop?", "--field", "From=Browser", "--hidden", "session=42").ends(0)
	if !strings.Contains(sent, " succeeded create sign-in YC") {
		t.Fatalf("send printed %q", sent)
	}
	sid := sent[strings.Index(sent, "YC"):][:34]
	chrome.await("challenge", shown+" === 1")
	chrome.tabTo("Approve: Sign in to the shop?")
	chrome.do(chromedp.KeyEvent("\r"))
	chrome.await("approved", shown+" === 0 && document.querySelector('#flow').innerText.includes('Approved')")

	start(t, env, "send", "--wait", "--operation", "fetch", "--id", "look", "--service-sid", service,
		"--identity", "customer-0001", "--challenge-sid", sid).ends(0)
	if got := fetched(t, b.Addrs(), "look"); got != "approved" {
		t.Errorf("the fetched challenge is %q", got)
	}
	chrome.quiet()
	host.interrupt()
	api.interrupt()
}

// fetched is the status of the challenge in a request's result.
func fetched(t *testing.T, brokers []string, id string) (status string) {
	t.Helper()
	client, err := kafka.NewClient(kafka.Config{Brokers: brokers})
	must(t, err)
	defer func() { _ = client.Close() }()
	ranges, err := client.Ranges(t.Context(), "challenge.results")
	must(t, err)
	for p, r := range ranges {
		for rec, err := range client.Scan(t.Context(), "challenge.results", p, r.Start, r.End) {
			must(t, err)
			res, _, err := schemas.DecodeResult(rec.Value)
			must(t, err)
			if res.RequestID == id {
				var c struct{ Status string }
				must(t, json.Unmarshal(res.Challenge, &c))
				status = c.Status
			}
		}
	}
	return status
}

// TestDemo: somebody opens the page of the demo, answers what waits there, sends
// a request from the form and answers that; the demo counts it all at its end.
func TestDemo(t *testing.T) {
	chromium(t)
	demo := start(t, nil, "demo", "--web", "--requests", "30", "--rate", "100")
	words := strings.Fields(demo.line("phones to press in a browser:"))
	page := words[len(words)-1]
	b := newTab(t, 1280, 800)
	b.do(chromedp.Navigate(page))
	b.await("first challenges", shown+" === 2")
	b.await("form", "!document.querySelector('#ask').hidden && document.querySelectorAll('#ask-phone option').length === 2")
	b.tabTo("Approve: Sign in to the online shop?")
	b.do(chromedp.KeyEvent("\r"))
	b.await("approved", shown+" === 1 && document.querySelector('.past').innerText.includes('Approved')")

	b.do(chromedp.SetValue(chromedp.CSS("#ask-message"), "Change your address?"))
	b.do(chromedp.Click(chromedp.CSS("#ask-form button")))
	b.await("its challenge", "document.querySelector('.challenge h4').textContent === 'Change your address?'")
	b.await("its result", "document.querySelector('#flow li').innerText.includes('Succeeded')")
	b.do(chromedp.Click(chromedp.CSS(".deny")))
	b.await("denied", shown+" === 1 && document.querySelector('#flow li').innerText.includes('Denied')")
	first := eval[[]string](b, "[...document.querySelectorAll('#flow > li:first-child .steps li')].map((s) => s.dataset.kind + (s.classList.contains('done') ? '' : '?'))")
	if got := strings.Join(first, " "); got != "requested created result answered" {
		t.Errorf("the flow of the form's request: %s", got)
	}

	// For the pictures, one more waits.
	b.do(chromedp.SetValue(chromedp.CSS("#ask-message"), "Approve the payment of 18.00 EUR?"))
	b.do(chromedp.Click(chromedp.CSS("#ask-form button")))
	b.await("another", shown+" === 2 && document.querySelector('#flow li').innerText.includes('Succeeded')")
	for _, scheme := range []string{"light", "dark"} {
		b.media(map[string]string{"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"})
		for _, low := range eval[[]string](b, contrasts) {
			t.Errorf("%s: contrast of %s", scheme, low)
		}
		b.shoot("phones-" + scheme + ".png")
	}
	b.quiet()
	demo.line("Ctrl-C ends it.")
	said := demo.interrupt()
	for _, want := range []string{"requests      34 in", "lost          0", "duplicates    0"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in %s", want, said)
		}
	}
}
