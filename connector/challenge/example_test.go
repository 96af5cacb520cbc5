package challenge_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
)

var (
	account = "AC" + strings.Repeat("0", 32)
	service = "VA" + strings.Repeat("1", 32)
	sid     = "YC" + strings.Repeat("2", 32)
	factor  = "YF" + strings.Repeat("3", 32)
)

const identity = "door-4711-north"

// api shows the form of each request and answers with body.
func api(status int, body string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.FormValue("Details.Fields")+r.FormValue("AuthPayload"))
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	}))
}

func ExampleClient_Create() {
	server := api(http.StatusCreated, `{"sid":"`+sid+`","status":"pending"}`)
	defer server.Close()
	client, err := challenge.New(read.Config{AccountSID: account, Password: "token", BaseURL: server.URL})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	answer, err := client.Create(context.Background(), service, identity, challenge.CreateParams{
		FactorSID: factor, Message: "Open the north door?", Fields: []read.Field{{Label: "Door", Value: "North"}},
	})
	fmt.Println(challenge.Classify(true, err).Class, answer.Challenge.Status)
	// Output:
	// POST {"label":"Door","value":"North"}
	// ok pending
}

func ExampleClient_Update() {
	server := api(http.StatusForbidden, `{"code":60322,"message":"already responded","status":403}`)
	defer server.Close()
	client, err := challenge.New(read.Config{AccountSID: account, Password: "token", BaseURL: server.URL})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	_, err = client.Update(context.Background(), service, identity, sid, challenge.UpdateParams{AuthPayload: "123456"})
	fmt.Println(challenge.Classify(true, err).Class, err)
	// Output:
	// POST 123456
	// rejected challenge API: status 403, code 60322
}

func ExampleClassify() {
	for _, err := range []error{
		nil,
		&read.APIError{Status: 429, Code: 20429},
		&read.APIError{Status: 429, Code: 60309},
		&read.APIError{Status: 503},
		&read.CallError{Code: read.CodeNotSent},
	} {
		write, reading := challenge.Classify(true, err), challenge.Classify(false, err)
		fmt.Printf("%s %s %v %q\n", write.Class, reading.Class, write.Failure, write.Limit)
	}
	// Output:
	// ok ok false ""
	// throttled throttled false ""
	// rejected rejected false "push notifications of one challenge: 3"
	// ambiguous unavailable true ""
	// unavailable unavailable true ""
}
