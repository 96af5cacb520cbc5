package challenge_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	twilio "github.com/twilio/twilio-go/client"
	verify "github.com/twilio/twilio-go/rest/verify/v2"

	"github.com/countersign/countersign/connector/challenge/read"
)

func TestReadsLikeTheOfficialClient(t *testing.T) {
	j := newJudge(t)
	j.answer = []byte(`{"sid":"` + sid + `","status":"pending"}`)
	j.compare(t, "fetch", func() error {
		_, err := j.official.FetchChallenge(service, identity, sid)
		return err
	}, func() error {
		_, err := j.ours.Fetch(t.Context(), service, identity, sid)
		return err
	})
	j.answer = []byte(`{"challenges":[],"meta":{"next_page_url":null,"key":"challenges"}}`)
	ours := func(p read.ListParams) func() error {
		return func() error {
			for _, err := range j.ours.All(t.Context(), service, identity, p) {
				return err
			}
			return nil
		}
	}
	official := func(p *verify.ListChallengeParams) func() error {
		return func() error {
			_, err := j.official.ListChallenge(service, identity, p)
			return err
		}
	}
	full := &verify.ListChallengeParams{FactorSid: &factor, Status: new("pending"), Order: new("desc"), PageSize: new(20)}
	j.compare(t, "list with everything", official(full), ours(read.ListParams{FactorSID: factor, Status: read.StatusPending, Order: read.OrderDesc, PageSize: 20}))
	for _, limit := range []int{1, 20, 1000, 1001, 5000} {
		j.compare(t, "list with limit", official(&verify.ListChallengeParams{Limit: &limit}), ours(read.ListParams{Limit: limit}))
		j.compare(t, "list with limit and page size", official(&verify.ListChallengeParams{Limit: &limit, PageSize: new(30)}), ours(read.ListParams{Limit: limit, PageSize: 30}))
	}
	j.compare(t, "list", official(nil), ours(read.ListParams{}), func(official, _ *exchange) {
		// Reasoned: where nobody asks for a size, ours leaves it to the API,
		// whose default is the 50 that the official client sends.
		if official.query.Get("PageSize") != "50" {
			t.Errorf("the official client sends %v", official.query)
		}
		official.query.Del("PageSize")
	})
	page := func() error {
		_, err := j.official.PageChallenge(service, identity, full, "DN"+sid, "3")
		return err
	}
	j.compare(t, "page", page, func() error {
		_, err := j.ours.List(t.Context(), service, identity, read.ListParams{
			FactorSID: factor, Status: read.StatusPending, Order: read.OrderDesc, PageSize: 20, Page: new(3), PageToken: "DN" + sid,
		})
		return err
	})
}

// TestPagesLikeTheOfficialClient follows a list to its end with both clients.
func TestPagesLikeTheOfficialClient(t *testing.T) {
	j := newJudge(t)
	var queries []string
	j.respond = func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.Query().Encode())
		n, next := len(queries)-1, "null"
		if n < 2 {
			next = fmt.Sprintf(`"http://%s%s?PageSize=2&Page=%d&PageToken=DN%s"`, r.Host, r.URL.Path, n+1, sid)
		}
		_, _ = fmt.Fprintf(w, `{"challenges":[{"sid":"YC%032x","status":"pending"}],"meta":{"page":%d,"next_page_url":%s,"key":"challenges"}}`, n, n, next)
	}
	theirs, err := j.official.ListChallenge(service, identity, &verify.ListChallengeParams{PageSize: new(2)})
	if err != nil {
		t.Fatal(err)
	}
	want := queries
	queries = nil
	n := 0
	for mine, err := range j.ours.All(t.Context(), service, identity, read.ListParams{PageSize: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		if n >= len(theirs) || mine.SID != *theirs[n].Sid {
			t.Fatalf("number %d is %s", n, mine.SID)
		}
		n++
	}
	if n != len(theirs) || len(want) != 3 || !slices.Equal(queries, want) {
		t.Errorf("ours got %d with %v, the official client %d with %v", n, queries, len(theirs), want)
	}
}

// TestDecodesLikeTheOfficialClient gives both clients the same answers.
func TestDecodesLikeTheOfficialClient(t *testing.T) {
	j := newJudge(t)
	files, err := filepath.Glob("read/testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no answers to compare", err)
	}
	for _, file := range files {
		if j.answer, err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(file, "page.json") {
			continue
		}
		mine, err := read.ParseChallenge(j.answer)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := j.official.FetchChallenge(service, identity, mine.SID)
		if err != nil {
			t.Fatal(err)
		}
		equalResources(t, file, theirs, &mine)
	}
}

func TestListsLikeTheOfficialClient(t *testing.T) {
	j := newJudge(t)
	data, err := os.ReadFile("read/testdata/page.json")
	if err != nil {
		t.Fatal(err)
	}
	j.answer = data
	at := "VA" + strings.Repeat("5e", 16) // the service of testdata
	theirs, err := j.official.PageChallenge(at, "door-4711-north", nil, "", "")
	if err != nil {
		t.Fatal(err)
	}
	mine, err := j.ours.List(t.Context(), at, "door-4711-north", read.ListParams{})
	if err != nil {
		t.Fatal(err)
	}
	if len(theirs.Challenges) != len(mine.Challenges) || *theirs.Meta.NextPageUrl != mine.Meta.NextPageURL ||
		theirs.Meta.Page != mine.Meta.Page || theirs.Meta.PageSize != mine.Meta.PageSize || theirs.Meta.Key != mine.Meta.Key {
		t.Fatalf("official %+v, ours %+v", theirs.Meta, mine.Meta)
	}
	for i := range mine.Challenges {
		equalResources(t, "page.json", &theirs.Challenges[i], &mine.Challenges[i])
	}
}

// equalResources compares property by property, by JSON. Where the API gave
// null, the official client has nil and ours the zero value.
func equalResources(t *testing.T, name string, theirs *verify.VerifyV2Challenge, mine *read.Challenge) {
	t.Helper()
	a, b := properties(t, theirs), properties(t, mine)
	names := slices.Sorted(maps.Keys(b))
	if len(names) != 18 {
		t.Errorf("%s: ours has %d properties, the reference has 18: %v", name, len(names), names)
	}
	for n := range a {
		if !slices.Contains(names, n) {
			t.Errorf("%s: ours lacks %s", name, n)
		}
	}
	for _, n := range names {
		if av, bv := a[n], b[n]; !reflect.DeepEqual(av, bv) && !(av == nil && bv == "") {
			t.Errorf("%s: %s is %v in ours, %v in the official client", name, n, bv, av)
		}
	}
}

func properties(t *testing.T, v any) map[string]any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatal("more than one value")
	}
	return m
}

// TestErrorsLikeTheOfficialClient gives both clients the same refusals.
func TestErrorsLikeTheOfficialClient(t *testing.T) {
	j := newJudge(t)
	j.status = 403
	j.answer = []byte(`{"code":60318,"message":"Factor is unverified","more_info":"https://www.twilio.com/docs/errors/60318","status":403,"details":{"a":"b"}}`)
	_, err := j.official.FetchChallenge(service, identity, sid)
	theirs, isTheirs := errors.AsType[*twilio.TwilioRestError](err)
	_, err = j.ours.Fetch(t.Context(), service, identity, sid)
	mine, isMine := errors.AsType[*read.APIError](err)
	if !isTheirs || !isMine {
		t.Fatalf("got %v and %v", theirs, err)
	}
	details, err := json.Marshal(theirs.Details)
	if err != nil {
		t.Fatal(err)
	}
	if mine.Status != theirs.Status || mine.Code != theirs.Code || mine.Message != theirs.Message || mine.MoreInfo != theirs.MoreInfo || string(mine.Details) != string(details) {
		t.Errorf("ours %+v, official %+v", mine, theirs)
	}
}
