package demo

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/plugin"
)

const (
	group       = "countersign-demo"
	accountName = "demo"
	partitions  = 6
	// tokenSecret is the placeholder of the account's token in the document. Its
	// value goes over the plugin's channel only.
	tokenSecret = "env:DEMO_AUTH_TOKEN" //nolint:gosec // a name, and no secret

	callTimeout  = 5 * time.Second
	drainTimeout = 8 * time.Second
	sessionTime  = 20 * time.Second
	// heartbeat is how often the plugin tells the status that the view shows.
	heartbeat = time.Second
)

// demoTopics are the connector's default names.
var demoTopics = topics{
	requests: "challenge.requests", results: "challenge.results", letters: "challenge.deadletters",
	ledger: "challenge.ledger", positions: "challenge.positions",
}

// configuration is the document that the plugin gets: what a small installation
// would write, with an open breaker and retries on a scale that can be watched.
func configuration(o Options, broker, api string) []byte {
	concurrency := min(max(16, int(o.Rate/4)), 256)
	return fmt.Appendf(nil, `kafka:
  brokers: [%q]
  group: %s
  client_id: %s
  topics: {requests: %s, results: %s, deadletters: %s, ledger: %s, positions: %s}
  session_timeout: %s
  rebalance_timeout: %s
accounts:
  %s:
    account_sid: %s
    auth_token: ${%s}
    base_url: %s
    timeout: %s
    rate: {per_second: %.0f, concurrency: %d}
    breaker: {failures: 5, ratio: 0.5, window: 2s, open: %s}
retry: {attempts: 10, elapsed: 40s, base: 100ms, cap: 2s}
drain_timeout: %s
`, broker, group, group, demoTopics.requests, demoTopics.results, demoTopics.letters, demoTopics.ledger, demoTopics.positions, sessionTime, sessionTime,
		accountName, emulator.DefaultAccountSID, tokenSecret, api, callTimeout,
		max(50, 3*o.Rate), concurrency, o.BreakerOpen, drainTimeout)
}

// spec says how the plugin is run: as a host's author would write it.
func spec(o Options, doc []byte, log *slog.Logger, onStatus func(connector.Status)) (plugin.Spec, error) {
	sum, err := plugin.SHA256File(o.Plugin.Path)
	if err != nil {
		return plugin.Spec{}, fmt.Errorf("demo: the plugin's checksum: %w", err)
	}
	return plugin.Spec{
		Path: o.Plugin.Path, Args: o.Plugin.Args, Env: o.Plugin.Env, SHA256: sum,
		Config: doc,
		Secrets: func(context.Context) (map[string]string, error) {
			return map[string]string{tokenSecret: emulator.DefaultAuthToken}, nil
		},
		DrainTimeout:      drainTimeout + 2*time.Second,
		OrphanGrace:       drainTimeout + 2*time.Second,
		Logger:            log,
		OnStatus:          onStatus,
		HeartbeatInterval: heartbeat,
	}, nil
}

// faults are how the API behaves. Without Options.Faults it is merely as far
// away as an API is.
func faults(o Options) emulator.Faults {
	if !o.Faults {
		return emulator.Faults{Latency: emulator.Latency{Min: 10 * time.Millisecond, Max: 80 * time.Millisecond, AfterShare: 0.2}}
	}
	return emulator.Faults{
		Latency: emulator.Latency{
			Min: 15 * time.Millisecond, Max: 150 * time.Millisecond, TailRate: 0.02, Tail: 700 * time.Millisecond, AfterShare: 0.3,
		},
		ThrottleRate: 0.03, RetryAfter: time.Second,
		ServerErrorRate: 0.03, ServerErrorAfterRate: 0.01, ServerErrorStatus: 503,
		ResetBeforeRate: 0.015, ResetAfterRate: 0.015,
		SlowBodyRate: 0.02, SlowBody: 300 * time.Millisecond,
	}
}
