package plugin

import (
	"context"
	"io"

	"github.com/countersign/countersign/connector"
)

// Connector is what a plugin serves and what a host may also run in its own
// process (see Embed). It lives through New, Configured, Running, Draining and
// Stopped; it may fail at any time. Whoever drives it keeps to that order;
// Serve and Embed do.
//
// All methods may be called concurrently. Errors should be of type *Error; any
// other is taken for CodeInternal.
type Connector interface {
	// Info needs no configuration and does not change.
	Info() Info
	// Validate lists every fault of a configuration document and has no side
	// effect. It touches the network only where probe is set. Secrets are by
	// the name of their placeholder, e.g. "env:API_KEY".
	Validate(ctx context.Context, doc []byte, secrets map[string]string, probe bool) ([]connector.Violation, error)
	// Configure takes the document and the secrets. A CodeConfig error carries
	// the violations and leaves everything as it was.
	Configure(ctx context.Context, doc []byte, secrets map[string]string) error
	// Start sets the connector to work and returns; it does not wait for the
	// first record. The work outlives ctx.
	Start(ctx context.Context) error
	// Drain takes no new work, finishes what is in flight, commits and leaves.
	// nil means that nothing was abandoned. When ctx ends first it gives up and
	// returns a CodeAbandoned error that says how much is unfinished. progress
	// may be called from any goroutine, but not after Drain has returned.
	Drain(ctx context.Context, progress func(Progress)) error
	// Stop abandons what is in flight and waits, until ctx ends, for
	// everything to be released. Legal at any time, also during any other
	// call; idempotent.
	Stop(ctx context.Context) error
	// Status is a snapshot. It must not block on work: a Status that does not
	// return is taken for a hung plugin.
	Status() connector.Status
	// Changes returns a channel that is closed at the next change of Status
	// after the call. To miss nothing, call it before Status.
	Changes() <-chan struct{}
	// Err says why Status().State is Failed; nil otherwise.
	Err() error
	// WriteMetrics writes one scrape in the Prometheus text format.
	WriteMetrics(w io.Writer) error
}

// Info says what a plugin is.
type Info struct {
	Name         string       // e.g. countersign
	Version      string       // of the build
	ConfigSchema []byte       // JSON Schema of the configuration document
	Capabilities []Capability // what it can do beyond the calls that every plugin has
	// Secrets names the secrets needed under every configuration. Those that a
	// document refers to by placeholders are not listed.
	Secrets []string
}

// Capability is an ability that a host may ask for. The set grows without a new
// protocol version; a host ignores those that it does not know.
type Capability string

// Capabilities of protocol version 1.
const (
	// CapabilitySelfDriven: the plugin reads and writes Kafka by itself. Host
	// requires it.
	CapabilitySelfDriven Capability = "self_driven"
	// CapabilityProcess: the plugin takes records from the host by the Process
	// call. No plugin of this package has it: the call is reserved.
	CapabilityProcess Capability = "process"
	// CapabilityStatusDetail: the Status tells of lag, expiry, pauses and stuck
	// keys of each lane, and of each account's share. Without it these are zero
	// and mean nothing.
	CapabilityStatusDetail Capability = "status_detail"
)

// Progress is how far a drain is.
type Progress struct {
	InFlight int // calls under way
	Held     int // records taken from the topic and not yet committed
}
