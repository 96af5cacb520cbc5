package read

import (
	"encoding/json"
	"errors"
	"time"
)

// Status is where a challenge is in its life. A value that this package
// doesn't name is kept as it came.
type Status string

// The statuses of the API.
const (
	StatusPending  Status = "pending"
	StatusExpired  Status = "expired"
	StatusApproved Status = "approved"
	StatusDenied   Status = "denied"
)

// RespondedReason says why a challenge is in its status. A value that this
// package doesn't name is kept as it came.
type RespondedReason string

// The reasons of the API.
const (
	ReasonNone         RespondedReason = "none"
	ReasonNotNeeded    RespondedReason = "not_needed"
	ReasonNotRequested RespondedReason = "not_requested"
)

// FactorType is the kind of factor that a challenge is for. A value that this
// package doesn't name is kept as it came.
type FactorType string

// The factor types of the API. Challenges for passkeys are made and approved on
// paths of their own, which this client doesn't call, but their type is among those
// that this resource can have: they are fetched and listed like any other.
const (
	FactorPush     FactorType = "push"
	FactorTOTP     FactorType = "totp"
	FactorPasskeys FactorType = "passkeys"
)

// Challenge is the API's resource. Where the API gives null, a text is empty
// and a pointer or map is nil; Raw tells null from empty.
type Challenge struct {
	SID        string `json:"sid"` // never empty
	AccountSID string `json:"account_sid"`
	ServiceSID string `json:"service_sid"`
	// EntitySID, Identity and FactorSID are empty for a passkeys challenge that
	// was made without an identity.
	EntitySID       string          `json:"entity_sid"`
	Identity        string          `json:"identity"`
	FactorSID       string          `json:"factor_sid"`
	DateCreated     *time.Time      `json:"date_created"`
	DateUpdated     *time.Time      `json:"date_updated"`
	DateResponded   *time.Time      `json:"date_responded"`
	ExpirationDate  *time.Time      `json:"expiration_date"`
	Status          Status          `json:"status"` // never empty
	RespondedReason RespondedReason `json:"responded_reason"`
	Details         *Details        `json:"details"`        // shown to the user
	HiddenDetails   Properties      `json:"hidden_details"` // the creator's
	Metadata        Properties      `json:"metadata"`       // the responding device's
	FactorType      FactorType      `json:"factor_type"`
	URL             string          `json:"url"`
	// Links leads to the resources below this one, by name ("notifications").
	Links map[string]string `json:"links"`
	// Raw is the JSON as it came, properties included that this type doesn't name.
	Raw json.RawMessage `json:"-"`
}

// Details is what the user is shown.
type Details struct {
	Message string `json:"message"`
	// Date is given only where the service is set to include it.
	Date   *time.Time `json:"date,omitempty"`
	Fields []Field    `json:"fields"`
}

// Field is one line of Details.
type Field struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

// Properties is an object with names of the user's own. The API takes only
// texts as values; other kinds are kept as encoding/json decodes them.
type Properties map[string]any

// Text returns the text under name; false where there is none or it is no text.
func (p Properties) Text(name string) (string, bool) {
	s, ok := p[name].(string)
	return s, ok
}

var errProperties = errors.New("neither null nor an object, nor a text that holds an object")

// UnmarshalJSON takes null, an object, and an object inside of a text: that is
// how requests carry it and how the API's reference words the property. Any
// other kind is an error, because nobody may take it for an empty object.
func (p *Properties) UnmarshalJSON(data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	if s, ok := v.(string); ok {
		v = nil
		if err := json.Unmarshal([]byte(s), &v); err != nil || v == nil {
			return errProperties
		}
	}
	switch v := v.(type) {
	case nil:
		*p = nil
	case map[string]any:
		*p = v
	default:
		return errProperties
	}
	return nil
}
