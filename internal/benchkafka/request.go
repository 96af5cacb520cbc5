package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

const question = "Sign in to the customer portal?"

// request is the i-th request of a run.
func (s spec) request(i int) schemas.Request {
	f := s.Factors[i%len(s.Factors)]
	return schemas.Request{
		ID: fmt.Sprintf("%s-%07d", s.Run, i), Operation: schemas.OperationCreate, ServiceSID: f.Service, Identity: f.Identity,
		Create: &schemas.Create{
			FactorSID: f.SID,
			Details:   &schemas.Details{Message: question, Fields: []schemas.Field{{Label: "Browser", Value: "Firefox on Linux"}}},
		},
	}
}

// mark has the length of the one that the connector sends.
const mark = `{"countersign":"0123456789012345678901234567890123456789012"}`

// create makes the same call as the connector's, as plainly as net/http lets.
func create(ctx context.Context, client *http.Client, api string, f factor) ([]byte, error) {
	form := url.Values{
		"FactorSid": {f.SID}, "Details.Message": {question}, "Details.Fields": {`{"label":"Browser","value":"Firefox on Linux"}`},
		"HiddenDetails": {mark},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		api+"/v2/Services/"+f.Service+"/Entities/"+f.Identity+"/Challenges", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(emulator.DefaultAccountSID, emulator.DefaultAuthToken)
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	if closing := res.Body.Close(); err == nil {
		err = closing
	}
	if err == nil && res.StatusCode != http.StatusCreated {
		err = fmt.Errorf("status %d: %s", res.StatusCode, body)
	}
	return body, err
}

// newHTTPClient keeps a connection for each call in flight.
func newHTTPClient(inFlight int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConns: inFlight, MaxIdleConnsPerHost: inFlight, DisableCompression: true}}
}
