package clients

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/internal/secret"
)

// recorder keeps what a client sends, and answers as the API would.
type recorder struct {
	mu   sync.Mutex
	sent []map[string]string // by part: "method", "path", "query X", "form X", "header X"
	base string
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	parts := map[string]string{"method": req.Method, "path": req.URL.EscapedPath()}
	add := func(kind string, values map[string][]string) {
		for name, all := range values {
			parts[kind+" "+name] = strings.Join(all, "\n")
		}
	}
	add("query", req.URL.Query())
	err := req.ParseForm()
	add("form", req.PostForm)
	add("header", req.Header)
	if agent, ok := parts["header User-Agent"]; ok {
		parts["header User-Agent"], _, _ = strings.Cut(agent, "/") // without version and machine
	}
	delete(parts, "header Content-Length") // follows from the form
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, parts)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/Challenges"):
		next := "null"
		if req.URL.Query().Get("PageSize") == "1" && !req.URL.Query().Has("PageToken") {
			next = `"` + r.base + req.URL.EscapedPath() + "?Status=pending&PageSize=1&Page=1&PageToken=DN" + wireChallenge + `"`
		}
		_, _ = fmt.Fprintf(w, `{"challenges":[{"sid":%q,"status":"pending"}],"meta":{"key":"challenges","next_page_url":%s}}`, wireChallenge, next)
	case req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/Challenges"):
		w.WriteHeader(http.StatusCreated)
		fallthrough
	default:
		_, _ = fmt.Fprintf(w, `{"sid":%q,"status":"pending"}`, wireChallenge)
	}
}

// take returns what was sent since the last time.
func (r *recorder) take() []map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := r.sent
	r.sent = nil
	return sent
}

// refused stands for a request that a client did not send.
var refused = []map[string]string{{"request": "refused before anything is sent"}}

// record makes each call by both clients and returns what differs, by call and
// part, as what twilio-go and what ours sends.
func record(t *testing.T) map[[2]string][2]string {
	t.Helper()
	r := &recorder{}
	server := httptest.NewServer(r)
	defer server.Close()
	r.base = server.URL
	to, err := url.Parse(server.URL)
	must(t, err)
	seen := &observer{to: to, next: &http.Transport{}}
	defer seen.next.CloseIdleConnections()
	rest := &client.Client{
		Credentials: client.NewCredentials(emulator.DefaultAccountSID, emulator.DefaultAuthToken), HTTPClient: &http.Client{Transport: seen},
	}
	theirs := twilio.NewRestClientWithParams(twilio.ClientParams{Client: rest}).VerifyV2
	ours, err := challenge.New(read.Config{
		AccountSID: emulator.DefaultAccountSID, Password: secret.String(emulator.DefaultAuthToken), BaseURL: server.URL,
	})
	must(t, err)
	defer ours.CloseIdleConnections()

	found := map[[2]string][2]string{}
	for _, c := range wireCalls {
		must(t, c.theirs(theirs))
		want := r.take()
		err := c.ours(t.Context(), ours)
		got := r.take()
		if call := new(read.CallError); errors.As(err, &call) && call.Code == read.CodeInvalid && len(got) == 0 {
			got = refused
		} else {
			must(t, err)
		}
		if len(want) != len(got) {
			t.Fatalf("%s: twilio-go sends %d requests, ours %d", c.name, len(want), len(got))
		}
		for i := range want {
			name := c.name
			if len(want) > 1 {
				name = fmt.Sprintf("%s (request %d)", name, i+1)
			}
			for part, values := range compare(want[i], got[i]) {
				found[[2]string{name, part}] = values
			}
		}
	}
	return found
}

// absent stands for a part that was not sent.
const absent = "–"

func compare(theirs, ours map[string]string) map[string][2]string {
	if _, ok := ours["request"]; ok {
		return map[string][2]string{"request": {theirs["method"] + " " + theirs["path"], ours["request"]}}
	}
	found := map[string][2]string{}
	for _, parts := range []map[string]string{theirs, ours} {
		for part := range parts {
			value := func(m map[string]string) string {
				if v, ok := m[part]; ok {
					return v
				}
				return absent
			}
			if a, b := value(theirs), value(ours); a != b {
				found[part] = [2]string{a, b}
			}
		}
	}
	return found
}

// TestWireParity: for the same call our client sends what twilio-go sends, but
// for the listed differences; and each of these is there.
func TestWireParity(t *testing.T) {
	found := record(t)
	for _, d := range differences {
		for _, call := range d.calls {
			at := [2]string{call, d.part}
			switch got, ok := found[at]; {
			case !ok:
				t.Errorf("%s, %s: listed as a difference, and there is none", call, d.part)
			case got != [2]string{d.theirs, d.ours}:
				t.Errorf("%s, %s: twilio-go sends %q, ours %q; listed are %q and %q", call, d.part, got[0], got[1], d.theirs, d.ours)
			}
			delete(found, at)
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(found), func(a, b [2]string) int { return strings.Compare(a[0]+a[1], b[0]+b[1]) }) {
		t.Errorf("%s, %s: twilio-go sends %q, ours %q", at[0], at[1], found[at][0], found[at][1])
	}
}

// What is compared must have come over the wire, and differ where it differs.
func TestCompareFindsDifferences(t *testing.T) {
	found := compare(
		map[string]string{"method": "GET", "query A": "1", "form B": "2"},
		map[string]string{"method": "GET", "query A": "2", "header C": "3"},
	)
	want := map[string][2]string{"query A": {"1", "2"}, "form B": {"2", absent}, "header C": {absent, "3"}}
	if !maps.Equal(found, want) {
		t.Errorf("%v, want %v", found, want)
	}
}
