package read

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// errorBody has the properties of the two forms in which the API words an
// error: its own (code, message, more_info, status, details) and RFC 9457
// (type, title, detail, status, with the API's code and errors). The status in
// the body is not read: the HTTP status is the one that was acted on.
type errorBody struct {
	Code     json.RawMessage `json:"code"`
	Message  string          `json:"message"`
	MoreInfo string          `json:"more_info"`
	Details  json.RawMessage `json:"details"`
	Type     string          `json:"type"`
	Title    string          `json:"title"`
	Detail   string          `json:"detail"`
	Errors   json.RawMessage `json:"errors"`
}

// parseError reads an answer that isn't 2xx. It always succeeds: where the body
// is no error of the API, the status alone speaks, and Message is its beginning.
func parseError(status int, header http.Header, body []byte) *APIError {
	e := &APIError{
		Status:             status,
		RequestID:          header.Get(headerRequestID),
		Date:               headerDate(header),
		ConcurrentRequests: headerCount(header),
	}
	if after := header.Get("Retry-After"); after != "" {
		e.RetryAfter, e.HasRetryAfter = retryAfter(after, e.Date, time.Now)
	}
	var b errorBody
	err := json.Unmarshal(body, &b)
	e.Code = errorCode(b.Code)
	if err != nil && e.Code == 0 { // with a code, one property of another kind spoils nothing
		e.Message = foreignMessage(header, body)
		return e
	}
	e.Message = safe(firstOf(b.Message, b.Detail, b.Title))
	e.MoreInfo = safe(firstOf(b.MoreInfo, b.Type))
	e.Details = present(b.Details)
	if e.Details == nil {
		e.Details = present(b.Errors)
	}
	return e
}

// errorCode takes a number or a number in a text; anything else is 0.
func errorCode(raw json.RawMessage) int {
	n, err := strconv.Atoi(strings.Trim(string(raw), `"`))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// present returns raw, or nil where it is missing or null.
func present(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

func foreignMessage(header http.Header, body []byte) string {
	if len(body) == 0 {
		return "no body"
	}
	kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	return safe(fmt.Sprintf("no error of the API (%s): %s", kind, body))
}

const maxMessage = 512

// safe returns text fit for logs and events: valid UTF-8, runs of white space
// and control characters made one space, at most maxMessage characters.
func safe(text string) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range text { // an invalid byte comes as U+FFFD
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			space = n > 0
			continue
		}
		if space && n < maxMessage {
			b.WriteByte(' ')
			n++
		}
		if space = false; n == maxMessage {
			break
		}
		b.WriteRune(r)
		n++
	}
	return strings.TrimRight(b.String(), " ")
}
