package emulator

import (
	"bytes"
	"encoding/json"
	"io"
	"time"
)

// span is a duration that JSON shows as Go writes it; zero is left out.
type span time.Duration

func (s span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

func (s *span) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	*s = span(d)
	return err
}

type latencyJSON struct {
	Fixed      span    `json:"fixed,omitempty"`
	Min        span    `json:"min,omitempty"`
	Max        span    `json:"max,omitempty"`
	TailRate   float64 `json:"tail_rate,omitempty"`
	Tail       span    `json:"tail,omitempty"`
	AfterShare float64 `json:"after_share,omitempty"`
}

type faultsJSON struct {
	Operations           []Operation `json:"operations,omitempty"`
	Devices              bool        `json:"devices,omitempty"`
	Latency              latencyJSON `json:"latency,omitzero"`
	ThrottleRate         float64     `json:"throttle_rate,omitempty"`
	RetryAfter           span        `json:"retry_after,omitempty"`
	ServerErrorRate      float64     `json:"server_error_rate,omitempty"`
	ServerErrorAfterRate float64     `json:"server_error_after_rate,omitempty"`
	ServerErrorStatus    int         `json:"server_error_status,omitempty"`
	ResetBeforeRate      float64     `json:"reset_before_rate,omitempty"`
	ResetAfterRate       float64     `json:"reset_after_rate,omitempty"`
	GarbledRate          float64     `json:"garbled_rate,omitempty"`
	SlowBodyRate         float64     `json:"slow_body_rate,omitempty"`
	SlowBody             span        `json:"slow_body,omitempty"`
	LateRate             float64     `json:"late_rate,omitempty"`
	ResetLateRate        float64     `json:"reset_late_rate,omitempty"`
	LateMin              span        `json:"late_min,omitempty"`
	LateMax              span        `json:"late_max,omitempty"`
	ListLag              span        `json:"list_lag,omitempty"`
	ListLagMax           span        `json:"list_lag_max,omitempty"`
	ListLagRate          float64     `json:"list_lag_rate,omitempty"`
	PurgeAge             span        `json:"purge_age,omitempty"`
	PurgeRate            float64     `json:"purge_rate,omitempty"`
	Concurrency          int         `json:"concurrency,omitempty"`
}

// MarshalJSON writes what is set.
func (f Faults) MarshalJSON() ([]byte, error) {
	return json.Marshal(faultsJSON{
		Operations: f.Operations, Devices: f.Devices,
		Latency: latencyJSON{
			Fixed: span(f.Latency.Fixed), Min: span(f.Latency.Min), Max: span(f.Latency.Max),
			TailRate: f.Latency.TailRate, Tail: span(f.Latency.Tail), AfterShare: f.Latency.AfterShare,
		},
		ThrottleRate: f.ThrottleRate, RetryAfter: span(f.RetryAfter),
		ServerErrorRate: f.ServerErrorRate, ServerErrorAfterRate: f.ServerErrorAfterRate,
		ServerErrorStatus: f.ServerErrorStatus,
		ResetBeforeRate:   f.ResetBeforeRate, ResetAfterRate: f.ResetAfterRate, GarbledRate: f.GarbledRate,
		SlowBodyRate: f.SlowBodyRate, SlowBody: span(f.SlowBody),
		LateRate: f.LateRate, ResetLateRate: f.ResetLateRate, LateMin: span(f.LateMin), LateMax: span(f.LateMax),
		ListLag: span(f.ListLag), ListLagMax: span(f.ListLagMax), ListLagRate: f.ListLagRate,
		PurgeAge: span(f.PurgeAge), PurgeRate: f.PurgeRate, Concurrency: f.Concurrency,
	})
}

// UnmarshalJSON replaces the whole value, refuses unknown names, and does not
// validate.
func (f *Faults) UnmarshalJSON(data []byte) error {
	var w faultsJSON
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return err
	}
	*f = Faults{
		Operations: w.Operations, Devices: w.Devices,
		Latency: Latency{
			Fixed: time.Duration(w.Latency.Fixed), Min: time.Duration(w.Latency.Min), Max: time.Duration(w.Latency.Max),
			TailRate: w.Latency.TailRate, Tail: time.Duration(w.Latency.Tail), AfterShare: w.Latency.AfterShare,
		},
		ThrottleRate: w.ThrottleRate, RetryAfter: time.Duration(w.RetryAfter),
		ServerErrorRate: w.ServerErrorRate, ServerErrorAfterRate: w.ServerErrorAfterRate,
		ServerErrorStatus: w.ServerErrorStatus,
		ResetBeforeRate:   w.ResetBeforeRate, ResetAfterRate: w.ResetAfterRate, GarbledRate: w.GarbledRate,
		SlowBodyRate: w.SlowBodyRate, SlowBody: time.Duration(w.SlowBody),
		LateRate: w.LateRate, ResetLateRate: w.ResetLateRate,
		LateMin: time.Duration(w.LateMin), LateMax: time.Duration(w.LateMax),
		ListLag: time.Duration(w.ListLag), ListLagMax: time.Duration(w.ListLagMax), ListLagRate: w.ListLagRate,
		PurgeAge: time.Duration(w.PurgeAge), PurgeRate: w.PurgeRate, Concurrency: w.Concurrency,
	}
	return nil
}

// DecodeFaults reads one JSON document and validates it. Errors are *Error
// with CodeFaults.
func DecodeFaults(r io.Reader) (Faults, error) {
	var f Faults
	dec := json.NewDecoder(r)
	if err := dec.Decode(&f); err != nil {
		return Faults{}, &Error{Code: CodeFaults, Message: "not a faults document", Err: err}
	}
	if dec.More() {
		return Faults{}, failf(CodeFaults, "more than one JSON value")
	}
	return f, f.Validate()
}
