package read

import (
	"net/http"
	"time"

	"github.com/countersign/countersign/internal/secret"
)

// Config says where the API is and who calls it. The zero value lacks the
// credentials.
type Config struct {
	// AccountSID is the account's: AC and 32 hexadecimal digits. Required.
	AccountSID string
	// Username of HTTP Basic. Empty: AccountSID, and Password is the auth
	// token. An API key's SID otherwise, and Password is its secret.
	Username string
	// Password is required.
	Password secret.String
	// Region and Edge choose the host, as in the official clients:
	// verify.<edge>.<region>.twilio.com, verify.<region>.twilio.com, and
	// verify.twilio.com where both are empty. An edge alone implies the region
	// us1. The environment (TWILIO_REGION, TWILIO_EDGE) is not looked at.
	Region, Edge string
	// BaseURL replaces all of that. A path in it stands before the API's own.
	// Plain http is accepted to 127.0.0.0/8, ::1 and localhost only.
	BaseURL string
	// Timeout bounds a call from the connection to the last byte of the
	// answer. Zero: only the call's context does.
	Timeout time.Duration
	// MaxBodyBytes bounds a successful answer, after decompression. Zero: 8 MiB.
	MaxBodyBytes int64
	// MaxIdleConns is how many connections are kept for reuse. Zero: 512.
	// Not used where Transport is set.
	MaxIdleConns int
	// Transport replaces the HTTP/1.1 connection pool of this package. It must
	// not follow redirects or repeat requests. Where it doesn't report its
	// connections through httptrace, every failure counts as sent.
	Transport http.RoundTripper
	// UserAgent in printable ASCII. Empty: countersign/<version>.
	UserAgent string
}
