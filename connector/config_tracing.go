package connector

import (
	"cmp"
	"net/url"
)

// TracingConfig says where spans go. The Connector itself makes them where it is
// given a tracer provider (WithTracerProvider); the programs make that provider
// from this.
type TracingConfig struct {
	// Endpoint is where a collector takes OTLP over HTTP, as in
	// http://127.0.0.1:4318; /v1/traces is added where it has no path. Empty:
	// nothing is traced. http only to loopback, unless Insecure.
	Endpoint string `yaml:"endpoint"`
	// Insecure allows an Endpoint with http:// on another machine. Spans hold no
	// identities, but they tell how many sign-ins there are and how they end.
	Insecure bool `yaml:"insecure"`
	// Authorization is the value of the Authorization header that the collector
	// wants. Empty: none.
	Authorization Secret `yaml:"authorization"`
	// SampleRatio is the share of traces that begin here which are recorded, above
	// 0 and at most 1. A trace that began before is recorded where it was before.
	// Zero: 1.
	SampleRatio float64 `yaml:"sample_ratio"`
	// ServiceName is the resource's service.name. Empty: countersign.
	ServiceName string `yaml:"service_name"`
}

const (
	defaultSampleRatio = 1
	defaultServiceName = "countersign"
)

// Enabled reports whether anything is traced.
func (t TracingConfig) Enabled() bool { return t.Endpoint != "" }

func (t TracingConfig) withDefaults() TracingConfig {
	t.SampleRatio = cmp.Or(t.SampleRatio, defaultSampleRatio)
	t.ServiceName = cmp.Or(t.ServiceName, defaultServiceName)
	return t
}

func (t TracingConfig) validate(v *configCheck) {
	if t.Enabled() {
		if rule := t.endpointFault(); rule != "" {
			v.add("tracing.endpoint", "%s", rule)
		}
	}
	if !t.Enabled() && !t.Authorization.IsZero() {
		v.add("tracing.authorization", "needs an endpoint to be sent to")
	}
	if !(t.SampleRatio > 0 && t.SampleRatio <= 1) {
		v.add("tracing.sample_ratio", "must be above 0 and at most 1, is %v", t.SampleRatio)
	}
	v.plainName("tracing.service_name", t.ServiceName)
}

func (t TracingConfig) endpointFault() string {
	u, err := url.Parse(t.Endpoint)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "" || u.Scheme != "http" && u.Scheme != "https":
		return "must be an absolute URL, as in http://127.0.0.1:4318"
	case u.User != nil:
		return "must hold no user name and password: tracing.authorization is for that"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "must hold no query and no fragment"
	case u.Scheme == "http" && !t.Insecure && !isLoopback(u.Hostname()):
		return "must begin with https://, unless the host is this machine or tracing.insecure is true"
	default:
		return ""
	}
}
