package schemas

import (
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Operation is one call of the Challenge API.
type Operation string

// The operations. Create and update change something at the API; fetch and list
// only read.
const (
	OperationCreate Operation = "create"
	OperationFetch  Operation = "fetch"
	OperationList   Operation = "list"
	OperationUpdate Operation = "update"
)

// Request asks for one call of the Challenge API. The zero value of an optional
// field means that the event leaves it out.
type Request struct {
	Version string // 1.x; empty: Encode writes Version
	ID      string // unique per intent, 1 to MaxID printable ASCII characters
	// Operation decides which of the following may and must be there: create
	// needs Create; fetch needs ChallengeSID; update needs ChallengeSID and
	// Update; list may have List.
	Operation Operation
	// Account names configured credentials; empty where the configuration holds
	// only one.
	Account      string
	ServiceSID   string // VA and 32 hexadecimal digits
	Identity     string // 8 to 64 letters and digits, separated by single dashes
	ChallengeSID string // YC and 32 hexadecimal digits
	Create       *Create
	Update       *Update
	List         *List
	// NotAfter is the moment past which nothing may be sent any more. Nil: the
	// connector's configuration decides.
	NotAfter *time.Time
}

// Create is the body of a create. AuthPayload is kept out of fmt and of
// encoding/json; Request.Encode writes it.
type Create struct {
	FactorSID      string     // YF and 32 hexadecimal digits
	ExpirationDate *time.Time // nil: the API's default, five minutes
	Details        *Details   // what the user sees; the API wants a message for push factors
	// HiddenDetails is context that the user doesn't see. Nil: left out. MarkerKey
	// is not allowed in it.
	HiddenDetails map[string]string
	AuthPayload   string `json:"-"` // TOTP code, 3 to 8 characters
}

// Details is what the user is shown.
type Details struct {
	Message string  // at most MaxMessage; empty: left out
	Fields  []Field // at most MaxFields; nil: left out
}

// Field is one labelled line of Details.
type Field struct {
	Label string // 1 to MaxLabel
	Value string // up to MaxValue; may be empty, but never left out
}

// Update is the body of an update. The API marks neither field as required, so
// an empty Update is allowed and its answer is left to the API: it costs no
// billed call. AuthPayload is kept out of fmt and of encoding/json;
// Request.Encode writes it.
type Update struct {
	// AuthPayload is a TOTP code or a push factor's signed answer. An event
	// can't know the factor's type, so both bounds together apply: 3 to 5456.
	AuthPayload string            `json:"-"`
	Metadata    map[string]string // nil: left out; empty: sent as an empty object
}

// List narrows and bounds a list. Every field is optional.
type List struct {
	FactorSID string // YF and 32 hexadecimal digits
	Status    string // pending, expired, approved or denied
	Order     string // asc or desc; empty: the API's default, asc
	PageSize  int    // 1 to MaxPageSize; zero: the API's default, 50
	Page      *int   // 0 to MaxCount
	PageToken string
	Limit     int // of challenges over all pages, 1 to MaxCount; zero: all
}

const redacted = "[redacted]"

// Format writes a create without its code and its texts, for every verb.
func (c Create) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "{"+c.FactorSID+" "+redacted+"}")
}

// Format writes an update without its payload and its metadata, for every verb.
func (u Update) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "{"+redacted+"}") }

// LogValue keeps identities and payloads out of slog.
func (r Request) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", r.ID),
		slog.String("operation", string(r.Operation)),
		slog.String("account", r.Account),
		slog.String("service_sid", r.ServiceSID),
	)
}

// LogValue keeps the code and the texts out of slog.
func (c Create) LogValue() slog.Value {
	return slog.GroupValue(slog.String("factor_sid", c.FactorSID))
}

// LogValue keeps the payload and the metadata out of slog.
func (u Update) LogValue() slog.Value { return slog.StringValue(redacted) }
