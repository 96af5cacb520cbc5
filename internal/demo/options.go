package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Defaults of Options.
const (
	DefaultRequests = 200
	DefaultPeople   = 36
	DefaultRate     = 20.0
)

// The most that one machine is asked for.
const (
	maxRequests = 1_000_000
	maxPeople   = 1000
	maxRate     = 10_000
	maxOutage   = time.Hour
)

// Options say what the demo does. Only Plugin is required.
type Options struct {
	// Requests is how many are sent. Zero: DefaultRequests.
	Requests int
	// Rate is how many are sent a second. Zero: DefaultRate.
	Rate float64
	// People is how many identities enrol, each with a push and a TOTP factor.
	// Zero: DefaultPeople.
	People int
	// Seed decides the stream. Every value is a seed, zero too.
	Seed uint64
	// Faults makes the API slow, throttling and failing: 429 with Retry-After,
	// 5xx, and connections reset before and after the work.
	Faults bool
	// Outage makes the API unreachable for so long, from the middle of the
	// stream on. Zero: never.
	Outage time.Duration
	// Keep stays up, after the stream has been answered, until the context
	// ends, and says how to connect with other tools.
	Keep bool
	// Web is host:port of a page with virtual phones on which people decide,
	// beside the stream's own. It implies Keep. Empty: there is no page.
	Web string

	// Plugin is the binary that is started as the plugin.
	Plugin Plugin
	// BreakerOpen is how long an open breaker waits before it probes. Zero: 1s.
	BreakerOpen time.Duration
	// Deadline bounds the time from the first request to the last answer;
	// what is unanswered then is lost. Zero: long enough for the stream, the
	// outage and the retries.
	Deadline time.Duration

	// Out gets the progress. Nil: nobody does.
	Out io.Writer
	// Width is not nil where Out is a terminal, and says how many columns it
	// has: the progress is then a table, redrawn in place. Nil: plain lines.
	Width func() int
	// Abort gives up at once when it is closed: what is under way is not waited
	// for, the plugin is killed. Nil: never.
	Abort <-chan struct{}

	// inspect lets a test look at broker and API after everything else has
	// stopped. Nil: nobody looks.
	inspect func(context.Context, *world)
}

// Plugin names a binary that serves plugin.Countersign.
type Plugin struct {
	Path string
	Args []string
	Env  []string
}

// withDefaults fills in what zero values stand for.
func (o Options) withDefaults() Options {
	if o.Requests == 0 {
		o.Requests = DefaultRequests
	}
	if o.Rate == 0 {
		o.Rate = DefaultRate
	}
	if o.People == 0 {
		o.People = DefaultPeople
	}
	if o.BreakerOpen == 0 {
		o.BreakerOpen = time.Second
	}
	if o.Deadline == 0 {
		o.Deadline = 3*time.Duration(float64(o.Requests)/o.Rate*float64(time.Second)) + o.Outage + 90*time.Second
		if o.Faults {
			// Each 429 stops all calls for its Retry-After, see faults.
			o.Deadline += time.Duration(o.Requests) * 60 * time.Millisecond
		}
	}
	o.Keep = o.Keep || o.Web != ""
	if o.Out == nil {
		o.Out = io.Discard
	}
	return o
}

// Validate reports every fault at once. It expects no defaults to be filled in.
func (o Options) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("demo: "+format, args...))
		}
	}
	check(o.Requests >= 0 && o.Requests <= maxRequests, "requests must be from 1 to %d, is %d", maxRequests, o.Requests)
	check(o.Rate >= 0 && o.Rate <= maxRate, "the rate must be above 0 and at most %d a second, is %v", maxRate, o.Rate)
	check(o.People >= 0 && o.People <= maxPeople, "people must be from 1 to %d, are %d", maxPeople, o.People)
	check(o.Outage >= 0 && o.Outage <= maxOutage, "the outage must be from 0s to %v, is %v", maxOutage, o.Outage)
	check(o.BreakerOpen >= 0, "the breaker's open time must not be negative")
	check(o.Deadline >= 0, "the deadline must not be negative")
	check(o.Plugin.Path != "", "a plugin is required")
	return errors.Join(faults...)
}
