package emulator

import (
	"slices"
	"time"
)

// FaultKind names what can go wrong on purpose. The set is closed.
type FaultKind string

const (
	// FaultNone lets a scripted call pass.
	FaultNone FaultKind = "none"
	// FaultThrottle answers 429/20429; the request is not processed.
	FaultThrottle FaultKind = "throttle"
	// FaultServerError answers a 5xx; the request is not processed.
	FaultServerError FaultKind = "server_error"
	// FaultServerErrorAfter answers a 5xx after the request was carried out.
	FaultServerErrorAfter FaultKind = "server_error_after"
	// FaultResetBefore resets the connection; the request is not processed.
	FaultResetBefore FaultKind = "reset_before"
	// FaultResetAfter resets the connection after the request was carried out.
	FaultResetAfter FaultKind = "reset_after"
	// FaultGarbled carries the request out and answers with its status and a
	// body that is not JSON.
	FaultGarbled FaultKind = "garbled"
	// FaultSlowBody stops for Faults.SlowBody in the middle of the answer's body.
	FaultSlowBody FaultKind = "slow_body"
	// FaultLate carries the request out Faults.LateMin to LateMax after it came, and
	// answers then. A caller that gave up meanwhile does not stop it.
	FaultLate FaultKind = "late"
	// FaultResetLate resets the connection at once and carries the request out
	// LateMin to LateMax after that.
	FaultResetLate FaultKind = "reset_late"
	// FaultListLag hides what a create makes from lists, for as long as
	// Faults.ListLag and ListLagMax allow. It counts lists that left something out.
	FaultListLag FaultKind = "list_lag"
	// FaultPurge makes what a create makes vanish: by a script at once, by
	// Faults.PurgeAge later. It counts calls that missed what has vanished.
	FaultPurge FaultKind = "purge"
	// FaultTail counts answers that Latency.Tail delayed. It can't be scripted.
	FaultTail FaultKind = "latency_tail"
	// FaultConcurrency counts 429s from Faults.Concurrency. It can't be scripted.
	FaultConcurrency FaultKind = "concurrency"
	// FaultUnavailable counts answers of a 503 outage. It can't be scripted.
	FaultUnavailable FaultKind = "unavailable"
)

func faultKinds() []FaultKind {
	return []FaultKind{
		FaultThrottle, FaultServerError, FaultServerErrorAfter, FaultResetBefore, FaultResetAfter,
		FaultGarbled, FaultSlowBody, FaultLate, FaultResetLate, FaultListLag, FaultPurge, FaultTail, FaultConcurrency, FaultUnavailable,
	}
}

// Faults says how often calls go wrong. Rates are shares of calls from 0 to 1.
// The zero value does no harm. In JSON, names are in snake_case and durations are written as in
// Go ("250ms"); unknown names are refused.
type Faults struct {
	// Operations are the calls that rates and latency apply to, of
	// OperationCreate, OperationFetch, OperationList and OperationUpdate. Empty: all four.
	// No other operation is ever hit.
	Operations []Operation
	// Devices makes the calls of devices targets too.
	Devices bool
	// Latency is added to each call.
	Latency Latency
	// ThrottleRate is the share answered 429/20429 at once, without latency, with
	// RetryAfter in whole seconds, rounded up. RetryAfter zero: no header.
	ThrottleRate float64
	RetryAfter   time.Duration
	// ServerErrorRate and ServerErrorAfterRate are the shares answered
	// ServerErrorStatus before and after the request is carried out. Status zero: 500.
	// 500 and 503 come with the API's error body; others with a gateway's HTML page.
	ServerErrorRate, ServerErrorAfterRate float64
	ServerErrorStatus                     int
	// ResetBeforeRate and ResetAfterRate are the shares whose connection is
	// reset before and after the request is carried out.
	ResetBeforeRate, ResetAfterRate float64
	// GarbledRate is the share carried out and answered with an HTML body.
	GarbledRate float64
	// SlowBodyRate is the share, of those answered at all, whose body stops half-way for SlowBody.
	SlowBodyRate float64
	SlowBody     time.Duration
	// LateRate and ResetLateRate are the shares that are carried out LateMin to
	// LateMax late: answered then, or reset at once. The delay comes on top of Latency.
	LateRate, ResetLateRate float64
	LateMin, LateMax        time.Duration
	// ListLag hides a challenge from lists for that long after it was made. With
	// a ListLagMax above it, each challenge has a lag of its own between the two.
	// ListLagRate is the share of challenges that lag; zero: all.
	ListLag, ListLagMax time.Duration
	ListLagRate         float64
	// PurgeAge makes a challenge vanish from fetches, updates and lists that long after
	// it was made. Zero: none vanishes by its age. PurgeRate is the share of
	// challenges that do; zero: all.
	PurgeAge  time.Duration
	PurgeRate float64
	// Concurrency answers 429/20429 to a call while that many calls of its
	// account are being processed. Zero: no limit.
	Concurrency int
}

// Latency is how long a call takes: Fixed, plus a uniform draw from Min to
// Max, plus Tail for a share TailRate of calls. AfterShare of the sum passes
// after the request was carried out, the rest before. A caller that goes away does not shorten
// it: the request is carried out all the same, as a server that has begun would.
type Latency struct {
	Fixed      time.Duration
	Min, Max   time.Duration
	TailRate   float64
	Tail       time.Duration
	AfterShare float64
}

// Validate reports the first fault as an *Error with CodeFaults.
func (f Faults) Validate() error {
	rates := []struct {
		name string
		rate float64
	}{
		{"throttle_rate", f.ThrottleRate},
		{"server_error_rate", f.ServerErrorRate},
		{"server_error_after_rate", f.ServerErrorAfterRate},
		{"reset_before_rate", f.ResetBeforeRate},
		{"reset_after_rate", f.ResetAfterRate},
		{"garbled_rate", f.GarbledRate},
		{"late_rate", f.LateRate},
		{"reset_late_rate", f.ResetLateRate},
		{"list_lag_rate", f.ListLagRate},
		{"purge_rate", f.PurgeRate},
		{"slow_body_rate", f.SlowBodyRate},
		{"latency.tail_rate", f.Latency.TailRate},
		{"latency.after_share", f.Latency.AfterShare},
	}
	for _, r := range rates {
		if !(r.rate >= 0 && r.rate <= 1) { // written so that NaN fails
			return failf(CodeFaults, "%s is %v, not within 0 and 1", r.name, r.rate)
		}
	}
	exclusive := 0.0
	for _, r := range rates[:8] {
		exclusive += r.rate
	}
	if exclusive > 1+1e-9 {
		return failf(CodeFaults, "the rates of faults that exclude each other add up to %v", exclusive)
	}
	if err := f.validateDurations(); err != nil {
		return err
	}
	if s := f.ServerErrorStatus; s != 0 && (s < 500 || s > 599) {
		return failf(CodeFaults, "server_error_status is %d, not a 5xx", s)
	}
	if f.Concurrency < 0 {
		return failf(CodeFaults, "concurrency is negative")
	}
	for _, op := range f.Operations {
		if !op.isChallenge() {
			return failf(CodeFaults, "operations: %q is not create, fetch, list or update", op)
		}
	}
	return nil
}

func (f Faults) validateDurations() error {
	for name, d := range map[string]time.Duration{
		"retry_after": f.RetryAfter, "slow_body": f.SlowBody, "list_lag": f.ListLag,
		"late_min": f.LateMin, "list_lag_max": f.ListLagMax, "purge_age": f.PurgeAge,
		"latency.fixed": f.Latency.Fixed, "latency.min": f.Latency.Min,
		"latency.max": f.Latency.Max, "latency.tail": f.Latency.Tail,
	} {
		if d < 0 {
			return failf(CodeFaults, "%s is negative", name)
		}
	}
	if f.Latency.Max < f.Latency.Min {
		return failf(CodeFaults, "latency.max is %v, below latency.min %v", f.Latency.Max, f.Latency.Min)
	}
	if f.LateMax < f.LateMin {
		return failf(CodeFaults, "late_max is %v, below late_min %v", f.LateMax, f.LateMin)
	}
	if f.ListLagMax != 0 && f.ListLagMax < f.ListLag {
		return failf(CodeFaults, "list_lag_max is %v, below list_lag %v", f.ListLagMax, f.ListLag)
	}
	return nil
}

// covers reports whether rates and latency apply to the operation.
func (f *Faults) covers(op Operation) bool {
	return op.isChallenge() && (len(f.Operations) == 0 || slices.Contains(f.Operations, op))
}

func (f *Faults) serverErrorStatus() int {
	if f.ServerErrorStatus == 0 {
		return 500
	}
	return f.ServerErrorStatus
}

// SetFaults replaces the faults from the next call on. It is safe for
// concurrent use; on an error nothing changes.
func (e *Emulator) SetFaults(f Faults) error {
	if err := f.Validate(); err != nil {
		return err
	}
	f.Operations = slices.Clone(f.Operations)
	e.faults.Store(&f)
	return nil
}

// Faults returns the faults in force.
func (e *Emulator) Faults() Faults {
	f := *e.faults.Load()
	f.Operations = slices.Clone(f.Operations)
	return f
}

// Script sets the fates of the next calls of one of the four challenge
// operations, one each and in order, before any rate is drawn for them. Device calls
// consume a fate too only where Faults.Devices is set. FaultListLag and FaultPurge are for
// creates; FaultNone spares a create both.
func (e *Emulator) Script(op Operation, kinds ...FaultKind) error {
	if !op.isChallenge() {
		return failf(CodeFaults, "operation %q can't be scripted", op)
	}
	for _, k := range kinds {
		switch k {
		case FaultTail, FaultConcurrency, FaultUnavailable:
			return failf(CodeFaults, "fault %q can't be scripted", k)
		case FaultNone:
		case FaultListLag, FaultPurge:
			if op != OperationCreate {
				return failf(CodeFaults, "fault %q is for creates", k)
			}
		default:
			if !slices.Contains(faultKinds(), k) {
				return failf(CodeFaults, "unknown fault %q", k)
			}
		}
	}
	e.dice.script(op, kinds)
	return nil
}
