package schemas

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Encode returns the event's bytes. It refuses, with an *EncodeError, whatever
// DecodeRequest would refuse.
func (r *Request) Encode() ([]byte, error) {
	w := writer{buf: make([]byte, 0, 512)}
	w.open()
	w.text("version", versionOr(r.Version))
	w.text("id", r.ID)
	w.text("operation", string(r.Operation))
	w.optional("account", r.Account)
	w.text("service_sid", r.ServiceSID)
	w.text("identity", r.Identity)
	w.optional("challenge_sid", r.ChallengeSID)
	w.moment("not_after", r.NotAfter)
	if r.Create != nil {
		w.create(r.Create)
	}
	if r.Update != nil {
		w.begin("update")
		w.optional("auth_payload", r.Update.AuthPayload)
		w.texts("metadata", r.Update.Metadata)
		w.close()
	}
	if r.List != nil {
		w.list(r.List)
	}
	w.close()
	_, _, err := DecodeRequest(w.buf)
	if refused, ok := errors.AsType[*DecodeError](err); ok {
		return nil, &EncodeError{Code: refused.Code, Faults: refused.Faults}
	}
	return w.buf, nil
}

func versionOr(v string) string {
	if v == "" {
		return Version
	}
	return v
}

func (w *writer) create(c *Create) {
	w.begin("create")
	w.text("factor_sid", c.FactorSID)
	w.moment("expiration_date", c.ExpirationDate)
	if c.Details != nil {
		w.begin("details")
		w.optional("message", c.Details.Message)
		if c.Details.Fields != nil {
			w.key("fields")
			w.buf = append(w.buf, '[')
			for _, f := range c.Details.Fields {
				w.comma()
				w.open()
				w.text("label", f.Label)
				w.text("value", f.Value)
				w.close()
			}
			w.buf = append(w.buf, ']')
		}
		w.close()
	}
	w.texts("hidden_details", c.HiddenDetails)
	w.optional("auth_payload", c.AuthPayload)
	w.close()
}

func (w *writer) list(l *List) {
	w.begin("list")
	w.optional("factor_sid", l.FactorSID)
	w.optional("status", l.Status)
	w.optional("order", l.Order)
	w.count("page_size", l.PageSize)
	if l.Page != nil {
		w.integer("page", int64(*l.Page))
	}
	w.optional("page_token", l.PageToken)
	w.count("limit", l.Limit)
	w.close()
}

// Encode returns the event's bytes. So that no outcome is lost over a detail of
// its report, it does not check what DecodeResult checks, and replaces what is
// not valid UTF-8 by U+FFFD. It refuses, with an *EncodeError, only a resource
// that is no well-formed JSON object (CodeInvalid, with the path of each), and an
// event above MaxEventBytes (CodeTooLarge).
func (r *Result) Encode() ([]byte, error) {
	if faults := r.rawFaults(); len(faults) > 0 {
		return nil, &EncodeError{Code: CodeInvalid, Faults: faults}
	}
	size := 1024 + len(r.Challenge)
	for _, c := range r.Challenges {
		size += len(c) + 1
	}
	w := writer{buf: make([]byte, 0, size)}
	w.open()
	w.result(r)
	w.close()
	if len(w.buf) > MaxEventBytes {
		message := fmt.Sprintf("is %d bytes long; %d are allowed", len(w.buf), MaxEventBytes)
		return nil, &EncodeError{Code: CodeTooLarge, Faults: []Fault{{Path: "$", Message: message}}}
	}
	return w.buf, nil
}

// rawFaults finds the resources that would spoil the event.
func (r *Result) rawFaults() (faults []Fault) {
	check := func(path string, raw json.RawMessage, depth int) {
		if what := malformed(raw, depth); what != "" {
			faults = append(faults, Fault{Path: path, Message: what})
		}
	}
	if r.Challenge != nil {
		check("$.challenge", r.Challenge, MaxDepth-1)
	}
	for i, c := range r.Challenges {
		check(fmt.Sprintf("$.challenges[%d]", i), c, MaxDepth-2)
	}
	return faults
}

func malformed(raw json.RawMessage, depth int) string {
	if len(raw) > MaxEventBytes {
		return "" // found again, and reported, when the whole is measured
	}
	d := decoders.Get().(*decoder)
	defer d.release()
	if what, at := d.parse(raw, depth); what != "" {
		return fmt.Sprintf("is not JSON: at byte %d, %s", at, what)
	}
	if k := d.nodes[0].kind; k != kindObject {
		return "must be " + kindObject.String() + ", not " + k.String()
	}
	return ""
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
