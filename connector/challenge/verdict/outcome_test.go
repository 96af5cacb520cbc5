package verdict_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/connector/challenge/verdict"
	"github.com/countersign/countersign/schemas"
)

func TestEndings(t *testing.T) {
	api := &read.APIError{Status: 403, Code: 60318, Message: "Factor unverified", MoreInfo: "https://errors.example/60318"}
	for _, tc := range []struct {
		v       verdict.Verdict
		err     error
		outcome schemas.Outcome
		class   schemas.Class
		text    string
		letter  bool
	}{
		{verdict.Verdict{Class: ok, Reason: "success"}, nil, schemas.OutcomeSucceeded, "", "", false},
		{verdict.Verdict{Class: rejected, Reason: "why"}, api, schemas.OutcomeRejected, schemas.ClassRejected, "Factor unverified", false},
		{verdict.Verdict{Class: rejected, Reason: "invalid argument"}, errors.New("x"), schemas.OutcomeRejected, schemas.ClassRejected, "invalid argument", false},
		{verdict.Verdict{Class: throttled, Reason: "busy"}, &read.APIError{Status: 429}, schemas.OutcomeFailed, schemas.ClassThrottled, "busy", true},
		{verdict.Verdict{Class: unavailable, Reason: "down"}, errors.New("x"), schemas.OutcomeFailed, schemas.ClassUnavailable, "down", true},
		{verdict.Verdict{Class: ambiguous, Reason: "lost"}, errors.New("x"), schemas.OutcomeFailed, schemas.ClassAmbiguous, "the call's end is not known, so it was not repeated: lost", true},
		{verdict.Verdict{Class: canceled, Reason: "stop"}, errors.New("x"), schemas.OutcomeFailed, schemas.ClassAmbiguous, "the call's end is not known, so it was not repeated: stop", true},
	} {
		e := verdict.EndingOf(tc.v, tc.err)
		if e.Outcome != tc.outcome || e.DeadLetter != tc.letter || !e.Redrivable || (e.Error != nil) != (tc.class != "") {
			t.Errorf("%+v ends as %+v", tc.v, e)
		}
		if e.Error != nil && (e.Error.Class != tc.class || e.Error.Message != tc.text) {
			t.Errorf("%+v says %+v", tc.v, e.Error)
		}
	}
	if e := verdict.EndingOf(verdict.Verdict{Class: rejected, Limit: "few"}, api).Error; e.Code != 60318 || e.Status != 403 || e.MoreInfo != api.MoreInfo || e.Limit != "few" {
		t.Errorf("%+v", e)
	}
}

func TestEndingsOfTheUnreadable(t *testing.T) {
	for name, tc := range map[string]struct {
		err                error
		outcome            schemas.Outcome
		class              schemas.Class
		letter, redrivable bool
	}{
		"faults":                  {&schemas.DecodeError{Code: schemas.CodeInvalid, ID: "a"}, schemas.OutcomeRejected, schemas.ClassInvalid, false, false},
		"version":                 {&schemas.DecodeError{Code: schemas.CodeVersion, ID: "a", Operation: schemas.OperationList}, schemas.OutcomeFailed, schemas.ClassVersion, true, true},
		"version, no operation":   {&schemas.DecodeError{Code: schemas.CodeVersion, ID: "a"}, "", schemas.ClassVersion, true, true},
		"too large":               {&schemas.DecodeError{Code: schemas.CodeTooLarge, ID: "a", Operation: schemas.OperationList}, "", schemas.ClassTooLarge, true, false},
		"no id":                   {&schemas.DecodeError{Code: schemas.CodeNoID}, "", schemas.ClassNoID, true, false},
		"no JSON":                 {&schemas.DecodeError{Code: schemas.CodeNotJSON}, "", schemas.ClassNotJSON, true, false},
		"what Decode never gives": {errors.New("x"), "", schemas.ClassNotJSON, true, false},
	} {
		e, _, _ := verdict.EndingOfUnreadable(tc.err)
		if e.Outcome != tc.outcome || e.Error == nil || e.Error.Class != tc.class || e.DeadLetter != tc.letter || e.Redrivable != tc.redrivable {
			t.Errorf("%s ends as %+v, %+v", name, e, e.Error)
		}
	}
}

func TestRequestOf(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	event := func(more string) string {
		return `{"version":"1.0","id":"a","operation":"create","service_sid":"VA` + strings.Repeat("0", 32) + `","identity":"door-4711","create":{"factor_sid":"YF` + strings.Repeat("0", 32) + `"` + more + `}}`
	}
	later := at.Add(time.Hour)
	redriven := schemas.Redrive{Redrives: 2, NotAfter: &later}.Headers()
	for name, tc := range map[string]struct {
		value   string
		headers []schemas.Header
		class   schemas.Class // empty: it may be called
		until   time.Time
	}{
		"plain":                  {event(""), nil, "", at.Add(time.Minute)},
		"redriven":               {event(""), redriven, "", later},
		"expiration ahead":       {event(`,"expiration_date":"2026-03-04T05:10:00Z"`), nil, "", at.Add(time.Minute)},
		"expiration behind":      {event(`,"expiration_date":"2026-03-04T05:00:00Z"`), nil, schemas.ClassInvalid, at.Add(time.Minute)},
		"faulty":                 {event(`,"factor_sid":"x"`), nil, schemas.ClassInvalid, time.Time{}},
		"faulty header":          {event(""), []schemas.Header{{Key: redriven[0].Key, Value: []byte("x")}}, schemas.ClassInvalid, time.Time{}},
		"another version":        {strings.Replace(event(""), "1.0", "2.0", 1), nil, schemas.ClassVersion, time.Time{}},
		"no JSON":                {"no", nil, schemas.ClassNotJSON, time.Time{}},
		"with an unknown member": {strings.Replace(event(""), `"id"`, `"idd":1,"id"`, 1), nil, "", at.Add(time.Minute)},
	} {
		r := verdict.RequestOf([]byte(tc.value), tc.headers, at)
		switch {
		case (r.Ending != nil) != (tc.class != ""):
			t.Errorf("%s ends as %+v", name, r.Ending)
		case r.Ending != nil && r.Ending.Error.Class != tc.class:
			t.Errorf("%s has class %s", name, r.Ending.Error.Class)
		case !tc.until.IsZero() && !r.NotAfter(at, time.Minute).Equal(tc.until):
			t.Errorf("%s is good until %s", name, r.NotAfter(at, time.Minute))
		case tc.class == "" && (r.Event == nil || r.ID != "a" || r.Operation != schemas.OperationCreate):
			t.Errorf("%s is %+v", name, r)
		}
	}
}
