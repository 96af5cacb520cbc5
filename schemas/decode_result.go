package schemas

import (
	"math"
	"time"
)

var (
	outcomeRule = oneOf(OutcomeSucceeded, OutcomeAdopted, OutcomeDuplicate, OutcomeRejected, OutcomeExpired, OutcomeFailed)
	classRule   = oneOf(
		ClassInvalid, ClassVersion, ClassRejected, ClassThrottled, ClassUnavailable, ClassAmbiguous, ClassCredentials,
		ClassExpired, ClassIDConflict, ClassAccount, ClassTooLarge, ClassGuard, ClassNotJSON, ClassNoID,
	)
)

var resultIDRule = hexDigits(resultIDLength)

// DecodeResult reads a result event. The error, if any, is a *DecodeError whose
// ID is the result's; the warnings are given either way.
func DecodeResult(data []byte) (*Result, []Warning, error) {
	d, refused := newDecoder(data, &resultShape)
	if refused != nil {
		return nil, nil, refused
	}
	defer d.release()
	o, ok := d.open(0, &resultShape)
	if !ok {
		return nil, nil, d.verdict("", "")
	}
	r := &Result{ID: o.text("id", required, resultIDRule)}
	r.Operation = Operation(o.text("operation", optional, operationRule))
	if err := o.version(&r.Version, r.ID, r.Operation); err != nil {
		return nil, nil, err
	}
	o.result(r)
	o.outcome(r)
	if err := d.verdict(r.ID, r.Operation); err != nil {
		return nil, d.notices(), err
	}
	return r, d.notices(), nil
}

func (o *object) result(r *Result) {
	r.RequestID = o.text("request_id", required, idRule)
	r.Outcome = Outcome(o.text("outcome", required, outcomeRule))
	r.Account = o.text("account", optional, accountRule)
	r.ServiceSID = o.text("service_sid", optional, serviceRule)
	r.Identity = o.text("identity", optional, identityRule)
	r.ChallengeSID = o.text("challenge_sid", optional, challengeRule)
	r.Error = o.error()
	r.Original = o.original()
	r.Attempts = o.count("attempts", required, 0, MaxCount)
	r.Request = o.coordinates()
	r.Times = o.times()
	r.APIRequestID = o.text("api_request_id", optional, notEmpty)
	o.inner("page", optional, func(in *object) {
		r.Page = &Page{Index: in.count("index", required, 0, MaxCount), Last: in.boolean("last", required)}
	})
	r.Headers = o.texts("headers", "")
	r.Challenge = o.raw("challenge")
	r.Challenges = o.raws("challenges")
}

// outcome checks what the outcome and the operation demand and forbid together.
func (o *object) outcome(r *Result) {
	if r.Outcome == "" {
		return
	}
	succeeded := r.Outcome == OutcomeSucceeded || r.Outcome == OutcomeAdopted
	switch r.Outcome {
	case OutcomeRejected, OutcomeExpired, OutcomeFailed:
		o.demand("error", r.Outcome)
	default:
		o.forbid("error", "outcome", string(r.Outcome))
	}
	if r.Outcome != OutcomeRejected {
		o.demand("operation", r.Outcome)
	}
	if r.Outcome != OutcomeDuplicate {
		o.forbid("original", "outcome", string(r.Outcome))
	}
	if r.Outcome == OutcomeAdopted && (r.Operation == OperationFetch || r.Operation == OperationList) {
		o.d.faultAt("outcome", "must not be adopted: a "+string(r.Operation)+" changes nothing that could be adopted")
	}
	if r.Operation == OperationList {
		o.forbid("challenge", "operation", "list")
		if succeeded {
			o.demand("challenges", r.Outcome)
		}
		return
	}
	o.forbid("challenges", "operation", "other than list")
	o.forbid("page", "operation", "other than list")
	if succeeded && r.Operation != "" {
		o.demand("challenge", r.Outcome)
	}
}

func (o *object) demand(name string, outcome Outcome) {
	if !o.has(name) {
		o.d.faultAt(name, "is required for outcome "+string(outcome))
	}
}

func (o *object) forbid(name, field, value string) {
	if o.has(name) {
		o.d.faultAt(name, "must not be there for "+field+" "+value)
	}
}

func (o *object) error() (e *Error) {
	o.inner("error", optional, func(in *object) {
		e = &Error{
			Class:    Class(in.text("class", required, classRule)),
			Code:     in.count("code", optional, 1, MaxCount),
			Message:  in.text("message", required, anyText),
			MoreInfo: in.text("more_info", optional, notEmpty),
			Status:   in.count("status", optional, 100, 599),
			Limit:    in.text("limit", optional, notEmpty),
		}
		there := in.items("faults", unbounded, func(n int32) {
			if item, ok := in.d.open(n, &faultShape); ok {
				e.Faults = append(e.Faults, Fault{
					Path:    item.text("path", required, notEmpty),
					Message: item.text("message", required, notEmpty),
				})
			}
		})
		if there && e.Faults == nil {
			e.Faults = []Fault{}
		}
	})
	return e
}

func (o *object) original() (v *Original) {
	o.inner("original", optional, func(in *object) {
		v = &Original{
			ResultID:     in.text("result_id", required, resultIDRule),
			ChallengeSID: in.text("challenge_sid", optional, challengeRule),
			Outcome:      Outcome(in.text("outcome", optional, outcomeRule)),
			Topic:        in.text("topic", required, notEmpty),
			Partition:    in.count("partition", required, 0, MaxCount),
		}
		v.Offset, _ = in.integer("offset", required, 0, math.MaxInt64)
	})
	return v
}

func (o *object) coordinates() (c Coordinates) {
	o.inner("request", required, func(in *object) {
		c.Topic = in.text("topic", required, notEmpty)
		c.Partition = in.count("partition", required, 0, MaxCount)
		c.Offset, _ = in.integer("offset", required, 0, math.MaxInt64)
		c.Timestamp = moment(in.time("timestamp", required))
	})
	return c
}

func (o *object) times() (t Times) {
	o.inner("times", required, func(in *object) {
		t.Received = moment(in.time("received", required))
		t.Called = in.time("called", optional)
		t.Completed = moment(in.time("completed", required))
	})
	return t
}

func moment(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
