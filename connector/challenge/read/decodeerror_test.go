package read

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func parseAPIError(t *testing.T, status int, h http.Header, body string) *APIError {
	t.Helper()
	_, err := ParseResponse(status, h, []byte(body), Want{})
	var api *APIError
	if !errors.As(err, &api) || api.Status != status {
		t.Fatalf("status %d: got %v, want an APIError", status, err)
	}
	return api
}

func TestErrorForms(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		kind   string
		body   string
		want   APIError
	}{
		"the API's own": {
			403, "application/json",
			`{"code":60318,"message":"Factor is unverified","more_info":"https://www.twilio.com/docs/errors/60318","status":403,"details":{"factor":"YF1"}}`,
			APIError{Code: 60318, Message: "Factor is unverified", MoreInfo: "https://www.twilio.com/docs/errors/60318", Details: []byte(`{"factor":"YF1"}`)},
		},
		"without details": {
			404, "application/json",
			`{"code":20404,"message":"Not here","more_info":"m","status":404,"details":null}`,
			APIError{Code: 20404, Message: "Not here", MoreInfo: "m"},
		},
		"RFC 9457": {
			400, "application/problem+json",
			`{"type":"https://www.twilio.com/docs/errors/20001","title":"Bad request","detail":"PageSize is 0","status":400,"code":20001,"errors":[{"pointer":"/PageSize"}]}`,
			APIError{Code: 20001, Message: "PageSize is 0", MoreInfo: "https://www.twilio.com/docs/errors/20001", Details: []byte(`[{"pointer":"/PageSize"}]`)},
		},
		"RFC 9457 without detail": {
			400, "application/problem+json",
			`{"type":"about:blank","title":"Bad request","status":400}`,
			APIError{Message: "Bad request", MoreInfo: "about:blank"},
		},
		"code as text":                    {429, "application/json", `{"code":"20429","message":"m"}`, APIError{Code: 20429, Message: "m"}},
		"code of no sense":                {400, "application/json", `{"code":-1.5,"message":"m"}`, APIError{Message: "m"}},
		"code beside an odd message":      {400, "application/json", `{"code":60306,"message":{"en":"m"}}`, APIError{Code: 60306}},
		"status in the body says nothing": {503, "application/json", `{"code":20500,"message":"m","status":200}`, APIError{Code: 20500, Message: "m"}},
		"HTML":                            {502, "text/html; charset=utf-8", "<html>\r\n<h1>502</h1>\x00\x1b[31m</html>\n", APIError{Message: "no error of the API (text/html): <html> <h1>502</h1> [31m</html>"}},
		"a JSON list":                     {500, "application/json", `["a"]`, APIError{Message: `no error of the API (application/json): ["a"]`}},
		"nothing":                         {503, "", "", APIError{Message: "no body"}},
		"redirect":                        {302, "", "", APIError{Message: "no body"}},
	} {
		e := parseAPIError(t, tc.status, http.Header{"Content-Type": {tc.kind}}, tc.body)
		if e.Code != tc.want.Code || e.Message != tc.want.Message || e.MoreInfo != tc.want.MoreInfo || string(e.Details) != string(tc.want.Details) {
			t.Errorf("%s: got %+v", name, e)
		}
	}
}

func TestForeignMessageIsBounded(t *testing.T) {
	for _, block := range []string{"é", "é\xff ", "a \n\tb", "abc "} {
		e := parseAPIError(t, 502, http.Header{}, strings.Repeat(block, 5000))
		if n := utf8.RuneCountInString(e.Message); n > maxMessage || n < maxMessage-1 || !utf8.ValidString(e.Message) {
			t.Errorf("%d characters: %q", n, e.Message)
		}
	}
}

func TestErrorTextsHideTheMessage(t *testing.T) {
	e := parseAPIError(t, 404, http.Header{"Twilio-Request-Id": {"RQ9"}}, `{"code":20404,"message":"/Entities/`+testIdentity+` was not found"}`)
	if got := e.Error(); got != "challenge API: status 404, code 20404, request RQ9" {
		t.Errorf("got %q", got)
	}
	c := &CallError{Code: CodeNoAnswer, Status: 201, RequestID: "RQ9", Err: errors.New("reset")}
	if got := c.Error(); got != "challenge API: no_answer, status 201, request RQ9: reset" {
		t.Errorf("got %q", got)
	}
}

func TestErrorHeaders(t *testing.T) {
	h := http.Header{}
	h.Set("Retry-After", "30")
	h.Set("Date", "Sun, 01 Mar 2026 08:00:00 GMT")
	h.Set("Twilio-Concurrent-Requests", "99")
	e := parseAPIError(t, 429, h, `{"code":20429}`)
	if !e.HasRetryAfter || e.RetryAfter != 30*time.Second || e.ConcurrentRequests != 99 || e.Date.IsZero() {
		t.Errorf("got %+v", e)
	}
	if e := parseAPIError(t, 429, http.Header{}, `{}`); e.HasRetryAfter || e.RetryAfter != 0 {
		t.Errorf("got %+v", e)
	}
}
