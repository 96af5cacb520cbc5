package schemas_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/schemas"
)

const unknown = " is not a field of version 1 and is ignored"

func TestUnknownFieldsAreWarnings(t *testing.T) {
	for field, hint := range map[string]string{
		`"ServiceSid":1`:     "service_sid",
		`"serviceSID":1`:     "service_sid",
		`"service-sid":1`:    "service_sid",
		`"SERVICE_SID":1`:    "service_sid",
		`"Identity":1`:       "identity",
		`"identify":1`:       "identity",
		`"idnetity":1`:       "identity",
		`"ID":1`:             "id",
		`"notAfter":1`:       "not_after",
		`"challengesid":1`:   "challenge_sid",
		`"Versoin":1`:        "version",
		`"PageSize":1`:       "list.page_size",
		`"factor_sid":1`:     "create.factor_sid or list.factor_sid",
		`"AuthPayload":1`:    "create.auth_payload or update.auth_payload",
		`"label":1`:          "create.details.fields.label",
		`"create.details":1`: "create.details",
		`"sid":1`:            "",
		`"tenant":1`:         "",
		`"x_\u00fc":1`:       "",
		`"":1`:               "",
		`"a long name that nobody can have meant to be one of ours":1`: "",
	} {
		_, warnings, err := schemas.DecodeRequest([]byte(head("list") + "," + field + "}"))
		if err != nil || len(warnings) != 1 {
			t.Errorf("%s: %v, %v", field, err, warnings)
			continue
		}
		want := unknown
		if hint != "" {
			want += "; did you mean " + hint + "?"
		}
		if warnings[0].Message != strings.TrimPrefix(want, " ") {
			t.Errorf("%s: %s, want %s", field, warnings[0].Message, want)
		}
	}
}

func TestUnknownFieldsAtEveryLevel(t *testing.T) {
	_, warnings, err := schemas.DecodeRequest([]byte(head("create") + `,"tenant":{"id":{}},"create":{"FactorSid":"","factor_sid":"` + factorSID + `",
		"Details.Message":"m","identity":"","details":{"Fields":[],"fields":[{"label":"l","value":"","lable":""}],"date":"2020"},
		"hidden_details":{"any":"name","will":"do"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "warnings", lines(warnings), []string{
		"$.tenant" + unknown,
		"$.create.FactorSid" + unknown + "; did you mean factor_sid?",
		`$.create["Details.Message"]` + unknown + "; did you mean details.message?",
		"$.create.identity" + unknown + "; did you mean $.identity?",
		"$.create.details.Fields" + unknown + "; did you mean fields?",
		"$.create.details.date" + unknown,
		"$.create.details.fields[0].lable" + unknown + "; did you mean label?",
	})
}

// Warnings come with an error, too.
func TestWarningsBesideFaults(t *testing.T) {
	refused, warnings := refuse(t, head("create")+`,"Create":{}}`)
	expect(t, "faults", lines(refused.Faults), []string{`$.create is required; is it the one written as "Create"?`})
	expect(t, "warnings", lines(warnings), []string{"$.Create" + unknown + "; did you mean create?"})
}

// A later minor version may have fields of its own.
func TestLaterMinorVersion(t *testing.T) {
	event := strings.Replace(head("list"), `"1.0"`, `"1.7"`, 1) + `,"tenant":"t"}`
	r, warnings, err := schemas.DecodeRequest([]byte(event))
	if err != nil || r.Version != "1.7" || len(warnings) != 1 {
		t.Errorf("%+v, %v, %v", r, warnings, err)
	}
}

func TestUnknownFieldsOfResults(t *testing.T) {
	event := `{"version":"1.0","id":"` + strings.Repeat("0", 32) + `","request_id":"a","operation":"fetch","outcome":"succeeded","attempts":1,
		"request":{"topic":"t","partition":0,"offset":0,"timestamp":"2026-01-02T15:04:05Z","Offset":1},"RequestID":1,"Status":200,
		"times":{"received":"2026-01-02T15:04:05Z","completed":"2026-01-02T15:04:05Z"},"challenge":{"any":{"any":1,"any":2}}}`
	_, warnings, err := schemas.DecodeResult([]byte(event))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "warnings", lines(warnings), []string{
		"$.RequestID" + unknown + "; did you mean request_id?",
		"$.Status" + unknown + "; did you mean error.status?",
		"$.request.Offset" + unknown + "; did you mean offset?",
	})
}
