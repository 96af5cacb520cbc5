package read

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestListEnvelope: each part of a list's answer, as the API may write it and as
// it can't have been meant. docs/challenge-api.md cites the cases by name.
func TestListEnvelope(t *testing.T) {
	one := `{"sid":"YC` + strings.Repeat("0a", 16) + `","status":"pending"}`
	urls, noURLs := []string{`"https://verify.twilio.com/v2/Services?PageSize=2&Page=1"`, `null`}, []string{`7`, `{}`, `[]`}
	counts, noCounts := []string{`0`, `7`, `1000`}, []string{`"7"`, `1.5`, `{}`}
	rows := map[string]struct {
		accepted, refused []string
		shown             func(p *Page) any
	}{
		"challenges": {
			[]string{`[]`, `[` + one + `]`},
			[]string{`null`, `{}`, `[7]`, `[null]`, `[{}]`},
			func(p *Page) any {
				raws := make([]json.RawMessage, len(p.Challenges))
				for i, c := range p.Challenges {
					raws[i] = c.Raw
				}
				return raws
			},
		},
		"page":              {counts, noCounts, func(p *Page) any { return p.Meta.Page }},
		"page_size":         {counts, noCounts, func(p *Page) any { return p.Meta.PageSize }},
		"first_page_url":    {urls, noURLs, func(p *Page) any { return p.Meta.FirstPageURL }},
		"previous_page_url": {urls, noURLs, func(p *Page) any { return p.Meta.PreviousPageURL }},
		"url":               {urls, noURLs, func(p *Page) any { return p.Meta.URL }},
		"next_page_url":     {urls, noURLs, func(p *Page) any { return p.Meta.NextPageURL }},
		"key":               {[]string{`"challenges"`}, noURLs, func(p *Page) any { return p.Meta.Key }},
	}
	var body, meta map[string]json.RawMessage
	if err := json.Unmarshal(testdata(t, "page.json"), &body); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body["meta"], &meta); err != nil {
		t.Fatal(err)
	}
	if want := slices.Sorted(maps.Keys(rows)); !slices.Equal(slices.Sorted(maps.Keys(meta)), slices.DeleteFunc(want, func(s string) bool { return s == "challenges" })) {
		t.Errorf("the recorded answer has %v", slices.Sorted(maps.Keys(meta)))
	}
	for name, tc := range rows {
		t.Run(name, func(t *testing.T) {
			with := func(value string) []byte {
				all, inner := maps.Clone(body), maps.Clone(meta)
				if name == "challenges" {
					all[name] = json.RawMessage(value)
				} else {
					inner[name] = json.RawMessage(value)
				}
				all["meta"] = marshalled(t, inner)
				return marshalled(t, all)
			}
			for _, value := range tc.accepted {
				p, err := parsePage(http.StatusOK, nil, with(value), Want{})
				if err != nil {
					t.Errorf("%s: %v", value, err)
					continue
				}
				want := value
				if want == "null" {
					want = `""`
				}
				if got := string(marshalled(t, tc.shown(p))); got != strings.ReplaceAll(want, "&", `\u0026`) {
					t.Errorf("%s becomes %s", value, got)
				}
			}
			for _, value := range tc.refused {
				if p, err := parsePage(http.StatusOK, nil, with(value), Want{}); err == nil {
					t.Errorf("%s is taken: %+v", value, p)
				}
			}
		})
	}
}

func marshalled(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestPropertyBounds: what the reference bounds in an answer is the API's to keep.
// It is read whole, at the bound and beyond: to refuse it would hide a challenge that exists.
// docs/challenge-api.md cites the cases by name.
func TestPropertyBounds(t *testing.T) {
	t.Run("metadata", func(t *testing.T) {
		for _, n := range []int{1024, 1025} {
			text := strings.Repeat("日", n-len(`{"k":""}`))
			c, err := ParseChallenge(change(t, "metadata", `{"k":"`+text+`"}`))
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := c.Metadata.Text("k"); !ok || got != text {
				t.Errorf("%d characters: got %d", n, len(got))
			}
		}
	})
	for name, lives := range map[string][]time.Duration{
		"expiration date left out":    {5 * time.Minute},
		"expiration date at the most": {60 * time.Minute, 61 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			made := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC) // as in the recorded answer
			for _, life := range lives {
				c, err := ParseChallenge(change(t, "expiration_date", `"`+made.Add(life).Format(time.RFC3339)+`"`))
				if err != nil {
					t.Fatal(err)
				}
				if got := c.ExpirationDate.Sub(*c.DateCreated); got != life {
					t.Errorf("it lives for %v, want %v", got, life)
				}
			}
		})
	}
}

// TestDetails: what the user is shown, part by part. docs/challenge-api.md cites
// the cases by name.
func TestDetails(t *testing.T) {
	for name, tc := range map[string]struct {
		value   string
		holds   func(d *Details) bool
		refused []string
	}{
		"message": {
			`{"message":"Open?"}`, func(d *Details) bool { return d.Message == "Open?" && d.Date == nil && len(d.Fields) == 0 },
			[]string{`{"message":7}`, `{"message":{}}`},
		},
		"date": {
			`{"message":"Open?","date":"2020-07-01T12:13:14Z"}`,
			func(d *Details) bool {
				return d.Date != nil && d.Date.Equal(time.Date(2020, 7, 1, 12, 13, 14, 0, time.UTC))
			},
			[]string{`{"date":"today"}`, `{"date":7}`},
		},
		"fields": {
			`{"message":"Open?","fields":[{"label":"Door","value":"North"},{"label":"Hour","value":""}]}`,
			func(d *Details) bool {
				return slices.Equal(d.Fields, []Field{{Label: "Door", Value: "North"}, {Label: "Hour", Value: ""}})
			},
			[]string{`{"fields":{}}`, `{"fields":["Door"]}`, `{"fields":[{"label":7,"value":"North"}]}`, `{"fields":[{"label":"Door","value":7}]}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := ParseChallenge(change(t, "details", tc.value))
			if err != nil {
				t.Fatal(err)
			}
			if c.Details == nil || !tc.holds(c.Details) {
				t.Errorf("%s becomes %+v", tc.value, c.Details)
			}
			for _, value := range tc.refused {
				if c, err := ParseChallenge(change(t, "details", value)); err == nil {
					t.Errorf("%s is taken: %+v", value, c.Details)
				}
			}
		})
	}
}
