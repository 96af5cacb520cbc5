package verdict_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/connector/challenge/verdict"
)

const (
	ok          = verdict.ClassOK
	throttled   = verdict.ClassThrottled
	rejected    = verdict.ClassRejected
	credentials = verdict.ClassCredentials
	ambiguous   = verdict.ClassAmbiguous
	unavailable = verdict.ClassUnavailable
	canceled    = verdict.ClassCanceled
)

func TestClassifyAnswers(t *testing.T) {
	for _, tc := range []struct {
		status, code int
		write, read  verdict.Class
	}{
		{429, 20429, throttled, throttled},
		{429, 0, throttled, throttled},
		{429, 60203, throttled, throttled},
		{503, 20429, throttled, throttled},
		{429, 25109, throttled, throttled},
		{400, 25109, throttled, throttled},
		{403, 25109, throttled, throttled},
		{503, 25109, ambiguous, unavailable},
		{429, 60308, rejected, rejected},
		{429, 60309, rejected, rejected},
		{429, 60310, rejected, rejected},
		{429, 60312, rejected, rejected},
		{429, 60326, rejected, rejected},
		{401, 20003, credentials, credentials},
		{401, 0, credentials, credentials},
		{403, 20003, credentials, credentials},
		{400, 60306, rejected, rejected},
		{400, 20001, rejected, rejected},
		{400, 0, rejected, rejected},
		{403, 60204, rejected, rejected},
		{403, 60311, rejected, rejected},
		{403, 60313, rejected, rejected},
		{403, 60318, rejected, rejected},
		{403, 60322, rejected, rejected},
		{403, 60323, rejected, rejected},
		{403, 60324, rejected, rejected},
		{404, 20404, rejected, rejected},
		{404, 60390, rejected, rejected},
		{404, 60391, rejected, rejected},
		{404, 60364, rejected, rejected},
		{409, 60301, rejected, rejected},
		{409, 0, rejected, rejected},
		{403, 60361, rejected, rejected},
		{403, 60362, rejected, rejected},
		{403, 60369, rejected, rejected},
		{422, 60369, rejected, rejected},
		{422, 60374, rejected, rejected},
		{408, 60382, rejected, rejected},
		{410, 60391, rejected, rejected},
		{403, 60390, rejected, rejected},
		{499, 60388, rejected, rejected},
		{422, 60393, rejected, rejected},
		{401, 60369, credentials, credentials},
		{429, 60369, throttled, throttled},
		{500, 60369, ambiguous, unavailable},
		{302, 60391, ambiguous, unavailable},
		{403, 60360, ambiguous, unavailable},
		{403, 60389, ambiguous, unavailable},
		{403, 60394, ambiguous, unavailable},
		{403, 0, ambiguous, unavailable},
		{403, 60300, ambiguous, unavailable},
		{404, 0, ambiguous, unavailable},
		{408, 0, ambiguous, unavailable},
		{101, 0, ambiguous, unavailable},
		{301, 0, ambiguous, unavailable},
		{307, 0, ambiguous, unavailable},
		{402, 0, ambiguous, unavailable},
		{405, 20004, ambiguous, unavailable},
		{410, 0, ambiguous, unavailable},
		{413, 0, ambiguous, unavailable},
		{418, 0, ambiguous, unavailable},
		{451, 0, ambiguous, unavailable},
		{500, 20500, ambiguous, unavailable},
		{502, 0, ambiguous, unavailable},
		{503, 0, ambiguous, unavailable},
		{504, 0, ambiguous, unavailable},
		{599, 0, ambiguous, unavailable},
		{799, 0, ambiguous, unavailable},
	} {
		err := fmt.Errorf("wrapped: %w", &read.APIError{Status: tc.status, Code: tc.code})
		w, r := verdict.Classify(true, err), verdict.Classify(false, err)
		if w.Class != tc.write || r.Class != tc.read {
			t.Errorf("%d/%d: a write is %s, a read %s, want %s, %s", tc.status, tc.code, w.Class, r.Class, tc.write, tc.read)
		}
		if failure := tc.status/100 == 5 && tc.code != 20429; w.Failure != failure || r.Failure != failure {
			t.Errorf("%d/%d: failure is %v, %v, want %v", tc.status, tc.code, w.Failure, r.Failure, failure)
		}
	}
}

func TestClassifyEnds(t *testing.T) {
	for _, tc := range []struct {
		code        read.CallCode
		sent        bool
		write, read verdict.Class
		failure     bool
	}{
		{read.CodeInvalid, false, rejected, rejected, false},
		{read.CodeNotSent, false, unavailable, unavailable, true},
		{read.CodeNoAnswer, true, ambiguous, unavailable, true},
		{read.CodeTimeout, false, unavailable, unavailable, true},
		{read.CodeTimeout, true, ambiguous, unavailable, true},
		{read.CodeCanceled, false, canceled, canceled, false},
		{read.CodeCanceled, true, ambiguous, canceled, false},
		{read.CodeTooLarge, true, ambiguous, unavailable, false},
		{read.CodeBadAnswer, true, ambiguous, unavailable, false},
		{read.CodeBadAnswer, false, ambiguous, unavailable, false},
		{read.CodeNotSent, true, ambiguous, unavailable, false}, // contradicts itself
		{"new", false, ambiguous, unavailable, false},
	} {
		err := &read.CallError{Code: tc.code, Sent: tc.sent, Err: errors.New("x")}
		w, r := verdict.Classify(true, err), verdict.Classify(false, err)
		if w.Class != tc.write || r.Class != tc.read || w.Failure != tc.failure || r.Failure != tc.failure || w.Limit+r.Limit != "" {
			t.Errorf("%s, sent %v: a write is %+v, a read %+v", tc.code, tc.sent, w, r)
		}
	}
	for _, err := range []error{context.Canceled, errors.New("x"), &read.APIError{Status: -1}} {
		if w, r := verdict.Classify(true, err), verdict.Classify(false, err); w.Class != ambiguous || r.Class != unavailable || w.Failure {
			t.Errorf("%v: a write is %+v, a read %+v", err, w, r)
		}
	}
}

func TestClassifySuccess(t *testing.T) {
	for _, write := range []bool{true, false} {
		if v := verdict.Classify(write, nil); v.Class != ok || v.Failure || v.Reason == "" {
			t.Errorf("got %+v", v)
		}
	}
}

// TestClassifyInvariants goes through every status with every code of the
// dictionary.
func TestClassifyInvariants(t *testing.T) {
	codes := []int{0, 20001, 20003, 20404, 20429, 20500, 25109}
	for code := 60200; code < 60440; code++ {
		codes = append(codes, code)
	}
	limited := []int{60308, 60309, 60310, 60312, 60326}
	reasons := map[string]bool{}
	for status := 100; status < 600; status++ {
		for _, code := range codes {
			err := &read.APIError{Status: status, Code: code}
			w, r := verdict.Classify(true, err), verdict.Classify(false, err)
			reasons[w.Reason] = true
			switch {
			case r.Class == ambiguous:
				t.Errorf("%d/%d: a read is ambiguous", status, code)
			case w.Class == unavailable || w.Class == canceled || w.Class == ok || r.Class == ok:
				t.Errorf("%d/%d: an answer is %s, %s", status, code, w.Class, r.Class)
			case (w.Class == ambiguous) != (r.Class == unavailable):
				t.Errorf("%d/%d: a write is %s, a read %s", status, code, w.Class, r.Class)
			case w.Failure && status < 500, w.Failure != r.Failure, w.Reason != r.Reason, w.Reason == "":
				t.Errorf("%d/%d: %+v, %+v", status, code, w, r)
			case status == 429 && (w.Limit != "") != slices.Contains(limited, code):
				t.Errorf("%d/%d: limit is %q", status, code, w.Limit)
			case w.Limit != "" && w.Class != rejected:
				t.Errorf("%d/%d: %s with limit %q", status, code, w.Class, w.Limit)
			}
		}
	}
	if len(reasons) > 12 {
		t.Errorf("%d reasons are too many for a label", len(reasons))
	}
}
