package integration

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

const passkeysIdentity = "passkeys-0001"

// postAPI posts to a path below the service that the connector does not call.
func postAPI(t testing.TB, api *emulator.Emulator, path, contentType, body string) (status int, answer []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, api.URL()+"/v2/Services/"+emulator.DefaultServiceSID+path, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", contentType)
	req.SetBasicAuth(emulator.DefaultAccountSID, emulator.DefaultAuthToken)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, data
}

// makePasskeys makes a passkeys challenge and returns it as the API shows it, or
// nothing where the API has none.
func makePasskeys(t testing.TB, api *emulator.Emulator, body string) (sid, raw string) {
	t.Helper()
	status, data := postAPI(t, api, "/Passkeys/Challenges", "application/json", body)
	var made struct {
		SID string `json:"sid"`
	}
	must(t, json.Unmarshal(data, &made))
	if status != 201 && status != 500 {
		t.Fatalf("%d: %s", status, data)
	}
	return made.SID, strings.TrimSpace(string(data))
}

// TestPasskeys: challenges for passkeys come whole from fetch and list, and what
// the form endpoints can't do ends as rejected, in the API's words.
func TestPasskeys(t *testing.T) {
	w := newWorld(t, emulator.Config{Rules: emulator.Rules{FetchDiscoverable: true}})
	f, err := w.api.AddPasskeysFactor(passkeysIdentity)
	must(t, err)
	mine, mineRaw := makePasskeys(t, w.api, `{"identity":"`+passkeysIdentity+`","factor_sid":"`+f.SID+`"}`)
	nobody, nobodyRaw := makePasskeys(t, w.api, `{}`)
	request := func(id string, op schemas.Operation, sid string) schemas.Request {
		return schemas.Request{ID: id, Operation: op, ServiceSID: f.ServiceSID, Identity: passkeysIdentity, ChallengeSID: sid}
	}
	create := request("create", schemas.OperationCreate, "")
	create.Create = &schemas.Create{FactorSID: f.SID, Details: &schemas.Details{Message: "Sign in?"}}
	update := request("update", schemas.OperationUpdate, mine)
	update.Update = &schemas.Update{AuthPayload: "a.b.c"}
	list := request("list", schemas.OperationList, "")
	list.List = &schemas.List{}
	m := w.run(w.config())
	w.send(create, update, list, request("fetch", schemas.OperationFetch, mine), request("fetch discoverable", schemas.OperationFetch, nobody))
	got := w.awaitAll()
	must(t, m.leave())
	w.auditsClean(t)
	byID := map[string]*schemas.Result{}
	for _, rs := range got.results {
		byID[rs[0].RequestID] = rs[0]
	}
	for _, id := range []string{"create", "update"} {
		r := byID[id]
		if r == nil || r.Outcome != schemas.OutcomeRejected || r.Error.Class != schemas.ClassRejected || r.Error.Code != 60369 ||
			r.Attempts != 1 || !strings.Contains(r.Error.Message, "passkeys") {
			t.Errorf("%s: %+v", id, r)
		}
	}
	for id, want := range map[string]string{"fetch": mineRaw, "fetch discoverable": nobodyRaw} {
		if r := byID[id]; r == nil || r.Outcome != schemas.OutcomeSucceeded || string(r.Challenge) != want {
			t.Errorf("%s: %+v, want %s", id, r, want)
		}
	}
	if r := byID["list"]; r == nil || r.Outcome != schemas.OutcomeSucceeded || len(r.Challenges) != 1 || string(r.Challenges[0]) != mineRaw {
		t.Errorf("list: %+v, want %s", r, mineRaw)
	}
}
