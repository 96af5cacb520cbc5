package schemas_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

const (
	serviceSID   = "VA5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8"
	accountSID   = "AC5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8"
	entitySID    = "YE5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8"
	factorSID    = "YF5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8"
	challengeSID = "YC5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8"
	identity     = "0d5c9c3e-7b1f-4f57-9a53-3a6f0be0a9a1"
)

// record is the moment at which the fixtures' records were written.
var record = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

func after(d time.Duration) *time.Time {
	t := record.Add(d)
	return &t
}

//go:fix inline

// request returns a request of one operation, with what every request needs.
func request(op schemas.Operation, change func(r *schemas.Request)) *schemas.Request {
	r := &schemas.Request{
		Version: "1.0", ID: "signin-4711", Operation: op, ServiceSID: serviceSID, Identity: identity,
	}
	switch op {
	case schemas.OperationCreate:
		r.Create = &schemas.Create{FactorSID: factorSID}
	case schemas.OperationUpdate:
		r.ChallengeSID, r.Update = challengeSID, &schemas.Update{}
	case schemas.OperationFetch:
		r.ChallengeSID = challengeSID
	}
	if change != nil {
		change(r)
	}
	return r
}

func fields(n int) []schemas.Field {
	list := make([]schemas.Field, n)
	for i := range list {
		list[i] = schemas.Field{Label: strings.Repeat("l", 36), Value: strings.Repeat("ü", 128)}
	}
	return list
}

// goldenRequests are the requests of testdata/request, by file name.
var goldenRequests = map[string]*schemas.Request{
	"create-minimal": request(schemas.OperationCreate, nil),
	"create-push": request(schemas.OperationCreate, func(r *schemas.Request) {
		r.Account = "main"
		r.NotAfter = after(2 * time.Minute)
		r.Create.ExpirationDate = after(10 * time.Minute)
		r.Create.Details = &schemas.Details{
			Message: "Would you like to sign in?",
			Fields:  []schemas.Field{{Label: "Action", Value: "Sign in"}, {Label: "Place", Value: "Rotterdam"}, {Label: "Note"}},
		}
		r.Create.HiddenDetails = map[string]string{"ip": "172.168.1.234", "agent": "<shop & co>"}
	}),
	"create-totp": request(schemas.OperationCreate, func(r *schemas.Request) { r.Create.AuthPayload = "123456" }),
	"create-bounds": request(schemas.OperationCreate, func(r *schemas.Request) {
		r.ID = strings.Repeat("i", 128)
		r.Account = strings.Repeat("a", 64)
		r.Identity = strings.Repeat("a-", 31) + "bb"
		r.Create.Details = &schemas.Details{Message: strings.Repeat("é", 256), Fields: fields(20)}
		r.Create.AuthPayload = "12345678"
	}),
	"create-text": request(schemas.OperationCreate, func(r *schemas.Request) {
		r.ID = `quote" back\slash`
		r.Create.Details = &schemas.Details{Message: "line\nbreak \t\"quoted\" \\ / \u2028 \x01 \U0001F510", Fields: []schemas.Field{}}
		r.Create.HiddenDetails = map[string]string{}
	}),
	"fetch":     request(schemas.OperationFetch, nil),
	"list-bare": request(schemas.OperationList, nil),
	"list-open": request(schemas.OperationList, func(r *schemas.Request) { r.List = &schemas.List{} }),
	"list-full": request(schemas.OperationList, func(r *schemas.Request) {
		r.List = &schemas.List{
			FactorSID: factorSID, Status: "pending", Order: "desc", PageSize: 50, Page: new(0),
			PageToken: "DN" + challengeSID, Limit: 200,
		}
	}),
	"update-totp": request(schemas.OperationUpdate, func(r *schemas.Request) { r.Update.AuthPayload = "123456" }),
	"update-push": request(schemas.OperationUpdate, func(r *schemas.Request) {
		r.Update.AuthPayload = "eyJhbGciOiJFUzI1NiJ9." + strings.Repeat("p", 600) + ".c2ln"
		r.Update.Metadata = map[string]string{"os": "Android"}
	}),
	"update-metadata": request(schemas.OperationUpdate, func(r *schemas.Request) { r.Update.Metadata = map[string]string{} }),
	"update-empty":    request(schemas.OperationUpdate, nil),
}

// resource is a challenge of a push factor.
func resource(status string) json.RawMessage { return fullResource(status, "push", "none") }

// fullResource is a challenge in the API's own words with every property of the
// reference, with a field that nobody here knows and spellings that another encoder
// would change.
func fullResource(status, factorType, reason string) json.RawMessage {
	const url = "https://verify.twilio.com/v2/Services/" + serviceSID + "/Entities/" + identity + "/Challenges/" + challengeSID
	return json.RawMessage(`{"sid":"` + challengeSID + `","account_sid":"` + accountSID + `","service_sid":"` + serviceSID +
		`","entity_sid":"` + entitySID + `","identity":"` + identity + `","factor_sid":"` + factorSID +
		`","date_created":"2026-01-02T15:04:05Z","date_updated":"2026-01-02T15:04:06Z","date_responded":"2026-01-02T15:04:06Z",` +
		`"expiration_date":"2026-01-02T15:09:05Z","status":"` + status + `","responded_reason":"` + reason +
		`","details":{"message":"a \/ b \u003c c","date":"2020-07-01T12:13:14Z","fields":[{"label":"Action","value":"Sign up in portal"}]},` +
		`"hidden_details":{"ip":"172.168.1.234"},"metadata":{"os":"Android"},"factor_type":"` + factorType +
		`","future":[1.50,1e2,true],"url":"` + url + `","links":{"notifications":"` + url + `/Notifications?b&c"}}`)
}

// passkeysResource is a passkeys challenge that was made for nobody in particular.
func passkeysResource() json.RawMessage {
	return json.RawMessage(`{"sid":"` + challengeSID + `","service_sid":"` + serviceSID + `","entity_sid":"","identity":"","factor_sid":"",` +
		`"status":"pending","date_responded":null,"expiration_date":null,"responded_reason":"none","details":null,"hidden_details":null,` +
		`"metadata":null,"factor_type":"passkeys","links":null,"options":{"publicKey":{"challenge":"WUMz","timeout":300000,"rpId":"example.com",` +
		`"allowCredentials":[],"userVerification":"preferred"}}}`)
}

// encodeHeaders writes a dead letter's headers as a JSON object, the way its
// schema takes them.
func encodeHeaders(headers []schemas.Header) []byte {
	b := []byte{'{'}
	for i, h := range headers {
		if i > 0 {
			b = append(b, ',')
		}
		key, _ := json.Marshal(h.Key)
		value, _ := json.Marshal(string(h.Value))
		b = append(append(append(b, key...), ':'), value...)
	}
	return append(b, '}')
}

// headersOf is the reverse of encodeHeaders.
func headersOf(t testing.TB, data []byte) []schemas.Header {
	t.Helper()
	var m map[string]string
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatalf("headers: %v", err)
	}
	var list []schemas.Header
	for k, v := range m {
		list = append(list, schemas.Header{Key: k, Value: []byte(v)})
	}
	return list
}
