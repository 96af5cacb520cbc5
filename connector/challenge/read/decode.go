package read

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/connector/challenge/internal/wire"
)

// The answer headers that are kept.
const (
	headerRequestID          = "Twilio-Request-Id"
	headerConcurrent         = "Twilio-Concurrent-Requests"
	headerSignatureFields    = "Twilio-Verify-Signature-Fields"
	headerChallengeSignature = "Twilio-Verify-Challenge-Signature"
)

// Response is one challenge and what came with it.
type Response struct {
	Challenge Challenge
	Raw       json.RawMessage // the body as it came
	// SignatureFields names the properties that a device signs, separated by
	// commas; a fetched push challenge has it.
	SignatureFields string
	// ChallengeSignature comes with an updated challenge.
	ChallengeSignature string
	RequestID          string    // Twilio-Request-Id; empty where it is missing
	Date               time.Time // the server's clock, in seconds; zero where it is missing
	Status             int       // HTTP status, 2xx
	// ConcurrentRequests is how many calls the account had under way by the
	// API's count; 0 where it didn't say.
	ConcurrentRequests int
}

// Want says what an answer must be about. An empty field asks for nothing; an
// empty property in the answer contradicts nothing. Letters of either case are
// equal: the API looks identities up that way.
type Want struct{ ServiceSID, Identity, FactorSID, SID string }

// ParseResponse reads an answer of the API that has one challenge: to a fetch,
// create or update, live or recorded. Another status than 2xx is an *APIError;
// a 2xx that isn't a challenge, or not the wanted one, is a *CallError with
// CodeBadAnswer. The Response keeps body.
func ParseResponse(status int, header http.Header, body []byte, want Want) (*Response, error) {
	if status < 200 || status > 299 {
		return nil, parseError(status, header, body)
	}
	body = bytes.TrimSpace(body)
	c, err := parseChallenge(body, want)
	if err != nil {
		err.Status, err.RequestID = status, header.Get(headerRequestID)
		return nil, err
	}
	return &Response{
		Challenge: c, Raw: c.Raw, Status: status,
		SignatureFields:    header.Get(headerSignatureFields),
		ChallengeSignature: header.Get(headerChallengeSignature),
		RequestID:          header.Get(headerRequestID),
		Date:               headerDate(header),
		ConcurrentRequests: headerCount(header),
	}, nil
}

// ParseChallenge reads one challenge as the API writes it. The error is a
// *CallError with CodeBadAnswer.
func ParseChallenge(data []byte) (Challenge, error) {
	c, err := parseChallenge(bytes.Clone(bytes.TrimSpace(data)), Want{})
	if err != nil {
		return Challenge{}, err
	}
	return c, nil
}

func parseChallenge(data []byte, want Want) (Challenge, *CallError) {
	c, plain := scanChallenge(data)
	if !plain {
		c = Challenge{}
		if err := json.Unmarshal(data, &c); err != nil {
			return Challenge{}, badAnswer("not a challenge: %w", err)
		}
	}
	c.Raw = data
	if err := c.check(); err != nil {
		return Challenge{}, err
	}
	if name := want.mismatch(&c); name != "" {
		return Challenge{}, badAnswer("the answer's %s is not the one asked for", name)
	}
	return c, nil
}

// check refuses what the API can't have meant: without a SID or a status it is
// no challenge, and a SID of another form would lead to a wrong resource later.
func (c *Challenge) check() *CallError {
	sids := []struct{ name, prefix, value string }{
		{"account_sid", "AC", c.AccountSID},
		{"service_sid", "VA", c.ServiceSID},
		{"entity_sid", "YE", c.EntitySID},
		{"factor_sid", "YF", c.FactorSID},
	}
	if !wire.SID("YC", c.SID) {
		return badAnswer("sid: want YC and 32 hexadecimal digits")
	}
	for _, s := range sids {
		if s.value != "" && !wire.SID(s.prefix, s.value) {
			return badAnswer("%s: want %s and 32 hexadecimal digits, or nothing", s.name, s.prefix)
		}
	}
	if c.Status == "" {
		return badAnswer("status: it is missing")
	}
	return nil
}

// mismatch returns the name of the property that differs, or nothing.
func (w Want) mismatch(c *Challenge) string {
	differ := func(want, got string) bool {
		return want != "" && got != "" && !strings.EqualFold(want, got)
	}
	switch {
	case differ(w.SID, c.SID):
		return "sid"
	case differ(w.ServiceSID, c.ServiceSID):
		return "service_sid"
	case differ(w.Identity, c.Identity):
		return "identity"
	case differ(w.FactorSID, c.FactorSID):
		return "factor_sid"
	default:
		return ""
	}
}

// headerDate returns the server's time; zero where it is missing or unreadable.
func headerDate(h http.Header) time.Time {
	t, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return t
}

func headerCount(h http.Header) int {
	n, err := strconv.Atoi(h.Get(headerConcurrent))
	if err != nil || n < 0 {
		return 0
	}
	return n
}
