package device

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config says which identity enrols where.
type Config struct {
	// BaseURL is the API's, without a path. Required.
	BaseURL string
	// ServiceSID and Identity own the factor. Required.
	ServiceSID, Identity string
	// Username and Password are the Basic credentials of enrolment: an
	// account's, or "token" with an access token. Required. Once enrolled, a
	// Device calls with tokens that its own key signs, an Authenticator not at all.
	Username, Password string
	// FriendlyName of the factor. Empty: "virtual device".
	FriendlyName string
	// Poll is the pause between two looks of Run. Zero: 500ms.
	Poll time.Duration
	// OnError is told what goes wrong while Run goes on. Nil: nobody is.
	OnError func(error)
	// OnAnswer is told of each answer of Run that the API shows. Nil: nobody is.
	OnAnswer func(Challenge, Decision)
	// HTTPClient makes the calls. Nil: one of the device's own, with a timeout of 10 s.
	HTTPClient *http.Client
	// Now is the device's clock. Nil: time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.FriendlyName == "" {
		c.FriendlyName = "virtual device"
	}
	if c.Poll == 0 {
		c.Poll = 500 * time.Millisecond
	}
	if c.OnError == nil {
		c.OnError = func(error) {}
	}
	if c.OnAnswer == nil {
		c.OnAnswer = func(Challenge, Decision) {}
	}
	if c.HTTPClient == nil {
		c.HTTPClient = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}, Timeout: 10 * time.Second}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.BaseURL = strings.TrimSuffix(c.BaseURL, "/")
	return c
}

func (c Config) validate() error {
	u, err := url.Parse(c.BaseURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return failf(CodeConfig, "BaseURL is not an http or https URL")
	}
	if c.ServiceSID == "" || c.Identity == "" {
		return failf(CodeConfig, "ServiceSID and Identity are required")
	}
	if c.Username == "" || c.Password == "" {
		return failf(CodeConfig, "Username and Password are required")
	}
	if c.Poll < 0 {
		return failf(CodeConfig, "Poll is negative")
	}
	return nil
}

// entityURL is where the identity's factors and challenges are.
func (c Config) entityURL() string {
	return c.BaseURL + "/v2/Services/" + url.PathEscape(c.ServiceSID) + "/Entities/" + url.PathEscape(c.Identity)
}

// credentials returns the Basic user and password of a call.
type credentials func() (user, password string, err error)

// maxAnswer bounds an answer: a full page of the largest challenges is below it.
const maxAnswer = 32 << 20

// call makes one request, with a form where there is one, and returns a 2xx
// answer's body and header.
func (c Config) call(ctx context.Context, method, target string, form url.Values, auth credentials) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, nil, &Error{Code: CodeConfig, Message: "the request can't be made", Err: err}
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	user, password, err := auth()
	if err != nil {
		return nil, nil, err
	}
	req.SetBasicAuth(user, password)
	resp, err := c.HTTPClient.Do(req)
	if err != nil {
		return nil, nil, &Error{Code: CodeTransport, Message: method + " without an answer", Err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, nil, &Error{Code: CodeTransport, Message: method + " with half an answer", Err: err}
	}
	if resp.StatusCode/100 != 2 {
		var refusal struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		}
		_ = json.Unmarshal(body, &refusal) // a gateway's page has neither
		return nil, resp.Header, &Error{
			Code: CodeRefused, Message: refusal.Message, Status: resp.StatusCode, APICode: refusal.Code,
		}
	}
	return body, resp.Header, nil
}

func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return &Error{Code: CodeAnswer, Message: "not the JSON that was expected", Err: err}
	}
	return nil
}

// fixed are credentials that stay the same.
func fixed(user, password string) credentials {
	return func() (string, string, error) { return user, password, nil }
}
