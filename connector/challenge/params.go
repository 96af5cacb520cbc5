package challenge

import (
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign/connector/challenge/internal/wire"
	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/internal/secret"
)

// The API's bounds, in characters where they are of a text.
const (
	MaxMessage     = 256  // Details.Message
	MaxFields      = 20   // Details.Fields
	MaxLabel       = 36   // of one field
	MaxValue       = 128  // of one field
	MaxProperties  = 1024 // HiddenDetails and Metadata, each serialised as JSON
	MinCode        = 3    // a TOTP code
	MaxCode        = 8
	MaxAuthPayload = 5456 // of an update: the signed answer of a push factor
)

// CreateParams describes a challenge. Only FactorSID is required here; the API
// wants a Message too where the factor is of type push.
type CreateParams struct {
	FactorSID string
	// ExpirationDate is sent in UTC, cut to the second; zero: the API's
	// default, 5 minutes from now. The API takes up to 60 minutes.
	ExpirationDate time.Time
	Message        string       // shown to the user
	Fields         []read.Field // shown to the user, in this order
	// HiddenDetails come back with the challenge and are not shown to the user.
	HiddenDetails map[string]string
	// AuthPayload is the code of a TOTP factor that is to be checked at once.
	AuthPayload secret.String
}

// UpdateParams answers a challenge. The API requires none of the two.
type UpdateParams struct {
	// AuthPayload is a TOTP code, or the signed answer of a push factor's device.
	AuthPayload secret.String
	Metadata    map[string]string
}

func (p *CreateParams) check() *read.CallError {
	if !wire.SID("YF", p.FactorSID) {
		return invalid("factor SID: want YF and 32 hexadecimal digits")
	}
	if n := len(p.AuthPayload); n > 0 {
		if err := checkText("auth payload", p.AuthPayload.Reveal(), MinCode, MaxCode); err != nil {
			return err
		}
	}
	if err := checkText("message", p.Message, 0, MaxMessage); err != nil {
		return err
	}
	if len(p.Fields) > MaxFields {
		return invalid("fields: %d are more than %d", len(p.Fields), MaxFields)
	}
	for i, f := range p.Fields {
		if isPlain(f.Label) && len(f.Label) <= MaxLabel && isPlain(f.Value) && len(f.Value) <= MaxValue {
			continue
		}
		if err := checkText(fmt.Sprintf("fields[%d].label", i), f.Label, 0, MaxLabel); err != nil {
			return err
		}
		if err := checkText(fmt.Sprintf("fields[%d].value", i), f.Value, 0, MaxValue); err != nil {
			return err
		}
	}
	if y := p.ExpirationDate.UTC().Year(); !p.ExpirationDate.IsZero() && (y < 1 || y > 9999) {
		return invalid("expiration date: RFC 3339 can't express it")
	}
	return nil
}

// checkText refuses a text of another length, and one that isn't UTF-8: JSON
// and the API would take replacement characters for what was meant.
func checkText(name, text string, least, most int) *read.CallError {
	if !utf8.ValidString(text) {
		return invalid("%s: it is not UTF-8", name)
	}
	if n := utf8.RuneCountInString(text); n < least || n > most {
		return invalid("%s: %d characters, want %d to %d", name, n, least, most)
	}
	return nil
}

func invalid(format string, args ...any) *read.CallError {
	return &read.CallError{Code: read.CodeInvalid, Err: fmt.Errorf(format, args...)}
}
