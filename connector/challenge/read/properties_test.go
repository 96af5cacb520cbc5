package read

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestChallengeProperties: each property of the resource, as the API may write it
// and as it can't have been meant. Enumerations are open to values of the future.
// docs/challenge-api.md cites the cases by name.
func TestChallengeProperties(t *testing.T) {
	hex := strings.Repeat("0aF", 10) + "bc"
	sid := func(prefix string) (accepted, refused []string) {
		return []string{`"` + prefix + hex + `"`, `"` + prefix + strings.ToUpper(hex) + `"`},
			[]string{`"` + prefix + hex[1:] + `"`, `"` + prefix + hex + `0"`, `"XX` + hex + `"`, `"` + prefix + hex[1:] + `g"`, `1`}
	}
	nullable := func(accepted []string) []string { return append(accepted, `null`, `""`) }
	challenges, noChallenges := sid("YC")
	accounts, noAccounts := sid("AC")
	services, noServices := sid("VA")
	entities, noEntities := sid("YE")
	factors, noFactors := sid("YF")
	dates, noDates := []string{`"2015-07-30T20:00:00Z"`, `"2015-07-30T22:00:00+02:00"`, `null`}, []string{`"yesterday"`, `"2015-07-30"`, `1438286400`}
	objects, noObjects := []string{`{"ip":"172.168.1.234"}`, `"{\"ip\":\"172.168.1.234\"}"`, `{}`, `null`}, []string{`"text"`, `[]`, `7`}
	type row struct{ accepted, refused []string }
	rows := map[string]row{
		"sid":             {challenges, append(noChallenges, `null`, `""`)},
		"account_sid":     {nullable(accounts), noAccounts},
		"service_sid":     {nullable(services), noServices},
		"entity_sid":      {nullable(entities), noEntities},
		"identity":        {[]string{`"ff483d1ff591898a9942916050d2ca3f"`, `""`, `null`}, []string{`7`, `{}`}},
		"factor_sid":      {nullable(factors), noFactors},
		"date_created":    {dates, noDates},
		"date_updated":    {dates, noDates},
		"date_responded":  {dates, noDates},
		"expiration_date": {dates, noDates},
		"status": {[]string{`"pending"`, `"expired"`, `"approved"`, `"denied"`, `"of-the-future"`}, []string{
			`""`, `null`, `1`,
		}},
		"responded_reason": {[]string{`"none"`, `"not_needed"`, `"not_requested"`, `"of-the-future"`, `null`}, []string{`1`, `{}`}},
		"details": {[]string{`{"message":"m","date":"2020-07-01T12:13:14Z","fields":[{"label":"l","value":"v"}]}`, `{"message":"m"}`, `null`}, []string{
			`"text"`, `[]`, `{"fields":{}}`, `{"date":"today"}`,
		}},
		"hidden_details": {objects, noObjects},
		"metadata":       {objects, noObjects},
		"factor_type":    {[]string{`"push"`, `"totp"`, `"passkeys"`, `"of-the-future"`, `null`}, []string{`1`, `[]`}},
		"url":            {[]string{`"https://verify.twilio.com/v2/Services"`, `null`}, []string{`1`, `{}`}},
		"links":          {[]string{`{"notifications":"https://verify.twilio.com/v2/Services"}`, `{}`, `null`}, []string{`"text"`, `[]`, `{"notifications":1}`}},
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(testdata(t, "approved_push.json"), &all); err != nil {
		t.Fatal(err)
	}
	for name := range all {
		if _, ok := rows[name]; !ok {
			t.Errorf("%s has no row", name)
		}
	}
	for name, tc := range rows {
		t.Run(name, func(t *testing.T) {
			for _, value := range tc.accepted {
				c, err := ParseChallenge(change(t, name, value))
				if err != nil {
					t.Errorf("%s: %v", value, err)
					continue
				}
				shown, err := json.Marshal(c)
				if err != nil {
					t.Fatal(err)
				}
				if written(t, shown, name) != written(t, c.Raw, name) {
					t.Errorf("%s becomes %s", value, written(t, shown, name))
				}
			}
			for _, value := range tc.refused {
				if c, err := ParseChallenge(change(t, name, value)); err == nil {
					t.Errorf("%s is taken: %+v", value, c)
				}
			}
		})
	}
}

// written is a property in one form: null for what is empty, texts that hold an
// object as that object.
func written(t *testing.T, data []byte, name string) string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	value := all[name]
	if text, ok := value.(string); ok {
		var inner map[string]any
		if json.Unmarshal([]byte(text), &inner) == nil && inner != nil {
			value = inner
		}
	}
	if value == "" {
		value = nil
	}
	if details, ok := value.(map[string]any); ok && name == "details" && details["fields"] == nil {
		delete(details, "fields") // missing and null mean the same
	}
	out, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
