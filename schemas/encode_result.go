package schemas

import (
	"maps"
	"slices"
)

func (w *writer) result(r *Result) {
	w.text("version", valid(versionOr(r.Version)))
	w.text("id", valid(r.ID))
	w.text("request_id", valid(r.RequestID))
	w.optional("operation", valid(string(r.Operation)))
	w.text("outcome", valid(string(r.Outcome)))
	w.optional("account", valid(r.Account))
	w.optional("service_sid", valid(r.ServiceSID))
	w.optional("identity", valid(r.Identity))
	w.optional("challenge_sid", valid(r.ChallengeSID))
	if r.Error != nil {
		w.error(r.Error)
	}
	if r.Original != nil {
		w.original(r.Original)
	}
	w.integer("attempts", int64(r.Attempts))
	w.coordinates(r.Request)
	w.begin("times")
	w.time("received", r.Times.Received)
	w.moment("called", r.Times.Called)
	w.time("completed", r.Times.Completed)
	w.close()
	w.optional("api_request_id", valid(r.APIRequestID))
	if r.Page != nil {
		w.begin("page")
		w.integer("index", int64(r.Page.Index))
		w.boolean("last", r.Page.Last)
		w.close()
	}
	w.texts("headers", validTexts(r.Headers))
	w.resources(r)
}

// resources writes the API's own resources. A succeeded list has them even
// where there are none.
func (w *writer) resources(r *Result) {
	if r.Challenge != nil {
		w.key("challenge")
		w.buf = appendCompact(w.buf, r.Challenge)
	}
	if r.Challenges == nil && (r.Operation != OperationList || r.Outcome != OutcomeSucceeded) {
		return
	}
	w.key("challenges")
	w.buf = append(w.buf, '[')
	for _, c := range r.Challenges {
		w.comma()
		w.buf = appendCompact(w.buf, c)
	}
	w.buf = append(w.buf, ']')
}

func (w *writer) error(e *Error) {
	w.begin("error")
	w.text("class", valid(string(e.Class)))
	w.count("code", e.Code)
	w.text("message", valid(e.Message))
	w.optional("more_info", valid(e.MoreInfo))
	w.count("status", e.Status)
	w.optional("limit", valid(e.Limit))
	if e.Faults != nil {
		w.key("faults")
		w.buf = append(w.buf, '[')
		for _, f := range e.Faults {
			w.comma()
			w.open()
			w.text("path", valid(f.Path))
			w.text("message", valid(f.Message))
			w.close()
		}
		w.buf = append(w.buf, ']')
	}
	w.close()
}

func (w *writer) original(v *Original) {
	w.begin("original")
	w.text("result_id", valid(v.ResultID))
	w.optional("challenge_sid", valid(v.ChallengeSID))
	w.optional("outcome", valid(string(v.Outcome)))
	w.text("topic", valid(v.Topic))
	w.integer("partition", int64(v.Partition))
	w.integer("offset", v.Offset)
	w.close()
}

func (w *writer) coordinates(c Coordinates) {
	w.begin("request")
	w.text("topic", valid(c.Topic))
	w.integer("partition", int64(c.Partition))
	w.integer("offset", c.Offset)
	w.time("timestamp", c.Timestamp)
	w.close()
}

// validTexts copies a map only where something in it is not valid UTF-8.
func validTexts(m map[string]string) map[string]string {
	for name, value := range m {
		if valid(name) == name && valid(value) == value {
			continue
		}
		fixed := make(map[string]string, len(m))
		for _, name := range slices.Sorted(maps.Keys(m)) {
			fixed[valid(name)] = valid(m[name])
		}
		return fixed
	}
	return m
}
