package read_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/countersign/countersign/connector/challenge/read"
)

var (
	account = "AC" + strings.Repeat("0", 32)
	service = "VA" + strings.Repeat("1", 32)
	sid     = "YC" + strings.Repeat("2", 32)
)

// api answers every request with body.
func api(status int, body string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	}))
}

func ExampleClient_Fetch() {
	server := api(200, `{"sid":"`+sid+`","status":"approved","factor_type":"push","hidden_details":{"door":"north"}}`)
	defer server.Close()
	client, err := read.New(read.Config{AccountSID: account, Password: "token", BaseURL: server.URL})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	answer, err := client.Fetch(context.Background(), service, "door-4711-north", sid)
	if err != nil {
		fmt.Println(err)
		return
	}
	door, _ := answer.Challenge.HiddenDetails.Text("door")
	fmt.Println(answer.Challenge.Status, answer.Challenge.FactorType, door)
	// Output: approved push north
}

func ExampleClient_All() {
	server := api(200, `{"challenges":[{"sid":"`+sid+`","status":"pending"}],"meta":{"page":0,"next_page_url":null}}`)
	defer server.Close()
	client, err := read.New(read.Config{AccountSID: account, Password: "token", BaseURL: server.URL})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	pending := read.ListParams{Status: read.StatusPending, Order: read.OrderDesc, Limit: 10}
	for challenge, err := range client.All(context.Background(), service, "door-4711-north", pending) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(challenge.SID, challenge.Status)
	}
	// Output: YC22222222222222222222222222222222 pending
}

func ExampleAPIError() {
	server := api(404, `{"code":20404,"message":"not found","status":404}`)
	defer server.Close()
	client, err := read.New(read.Config{AccountSID: account, Password: "token", BaseURL: server.URL})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	_, err = client.Fetch(context.Background(), service, "door-4711-north", sid)
	if said, ok := errors.AsType[*read.APIError](err); ok {
		fmt.Println(said.Status, said.Code, said.Message)
	}
	// Output: 404 20404 not found
}
