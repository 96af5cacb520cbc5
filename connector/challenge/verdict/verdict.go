package verdict

import (
	"errors"
	"slices"

	"github.com/countersign/countersign/connector/challenge/read"
)

// Class says what the end of a call means for its request. The set is closed.
type Class string

// The classes.
const (
	// ClassOK: it succeeded.
	ClassOK Class = "ok"
	// ClassThrottled: the API did not process it. Wait, then send it again.
	ClassThrottled Class = "throttled"
	// ClassRejected: it will never succeed as it is.
	ClassRejected Class = "rejected"
	// ClassCredentials: the account or its key is refused. Nothing was done; no
	// call of this account will succeed before somebody acts.
	ClassCredentials Class = "credentials"
	// ClassAmbiguous, of writes only: it may have taken effect. Look before
	// sending it again.
	ClassAmbiguous Class = "ambiguous"
	// ClassUnavailable: it had no effect, or was a read. Send it again later.
	ClassUnavailable Class = "unavailable"
	// ClassCanceled: the caller gave up, and it had no effect or was a read.
	ClassCanceled Class = "canceled"
)

// Verdict is what Classify found.
type Verdict struct {
	Class Class
	// Reason is why, one of a fixed set of texts: fit for a log and for a
	// metric's label.
	Reason string
	// Failure is true where the API or the way to it looks ill: 5xx, timeouts
	// and connection errors. A circuit breaker counts these and no others.
	Failure bool
	// Limit names the exhausted limit of the API and its window; empty where
	// none is.
	Limit string
}

// Classify returns what err, as a method of Client gave it, means; write tells
// a create or update from a read. A nil err is success. An error of neither
// *read.APIError nor *read.CallError is taken for the worst: ambiguous for a
// write, unavailable for a read.
func Classify(write bool, err error) Verdict {
	if err == nil {
		return Verdict{Class: ClassOK, Reason: "success"}
	}
	found := unknownEnd
	var api *read.APIError
	var call *read.CallError
	switch {
	case errors.As(err, &api):
		found = firstAnswer(api.Status, api.Code)
	case errors.As(err, &call):
		found = firstEnd(call.Code, call.Sent)
	}
	v := Verdict{Class: found.read, Reason: found.reason, Failure: found.failure}
	if write {
		v.Class = found.write
	}
	if api != nil && v.Class == ClassRejected {
		v.Limit = limits[api.Code]
	}
	return v
}

// finding is the right half of a row: the class of a write, of a read, why, and
// whether it counts as a failure of the API.
type finding struct {
	write, read Class
	reason      string
	failure     bool
}

// answerRow is for answers of the API. It covers the statuses from low to high
// and the codes listed, or every code where none is. The first row that covers
// an answer counts.
type answerRow struct {
	low, high int
	codes     []int
	finding
}

// limitCodes end a request for good, or for longer than it lives; see limits.
var limitCodes = []int{60308, 60309, 60310, 60312, 60326}

// dictionaryOnly are the codes 60361 to 60388 and 60390 to 60393.
var dictionaryOnly = func() (codes []int) {
	for code := 60361; code <= 60393; code++ {
		if code != 60389 { // the dictionary has no such page
			codes = append(codes, code)
		}
	}
	return codes
}()

// answerRows is the table. Its sources are the API's error dictionary and, for
// what that leaves open, caution: a write is settled by a look-up wherever
// nobody promises that it had no effect.
var answerRows = []answerRow{
	// 20429 and its 429 are documented as "never processed, always safe to
	// retry", whatever gateway passes them on.
	{100, 599, []int{20429}, both(ClassThrottled, "too many requests, not processed")},
	// 25109 says the same for Verify, and its page names no status. Below 500 it is
	// the API that turned the request away; a 5xx may have come after the work.
	{400, 499, []int{25109}, both(ClassThrottled, "too many requests, not processed")},
	// Of the Verify codes with status 429, these are about the challenge, the
	// factor or the entity; their windows are longer than a challenge lives.
	{429, 429, limitCodes, both(ClassRejected, "limit of the challenge, factor or entity reached")},
	// Any other 429, also one without a readable code, is the account's rate.
	{429, 429, nil, both(ClassThrottled, "too many requests, not processed")},
	// 401 is refused before any resource is looked at. 20003 is the same answer
	// where it comes as 403.
	{401, 401, nil, both(ClassCredentials, "not authenticated")},
	{403, 403, []int{20003}, both(ClassCredentials, "not authenticated")},
	// 400 is a fault of the request itself (20001, 60200, 60300, 60306, 60315,
	// 6036x …); none of its documented codes follows an effect.
	{400, 400, nil, both(ClassRejected, "bad request")},
	// 403 says no to this request only with these codes: service lacks the
	// feature, factor verification failed, factor not authorized, factor
	// unverified, challenge responded, expired, verification failed.
	{403, 403, []int{60204, 60311, 60313, 60318, 60322, 60323, 60324}, both(ClassRejected, "refused by the state of the resource")},
	// 404 with a code is the API's word on the resource (20404, 60390 to 60392,
	// 6036x). Without a code it is somebody else's page: a wrong base URL or a
	// gateway without its route. Rejecting every record for that would lose
	// them, so this 404 falls through to the unlisted.
	{404, 404, []int{0}, doubt("answer that the API doesn't document", false)},
	{404, 404, nil, both(ClassRejected, "not found")},
	// 409 is "it exists already" (60301, 60317).
	{409, 409, nil, both(ClassRejected, "conflict")},
	// The pages of these codes name no status, and all of them say that the
	// request is invalid or what it names is not there. Any 4xx fits that.
	{400, 499, dictionaryOnly, both(ClassRejected, "invalid or not found, by its code")},
	// 5xx may come from the server that did the work or from one before it.
	{500, 599, nil, doubt("server error", true)},
	// 408 comes from a server that stopped reading, which is not said to be the
	// one that acts. A redirect isn't followed, and where it was answered from
	// isn't known either.
	{408, 408, nil, doubt("request timeout answered by the server", false)},
	{300, 399, nil, doubt("redirect, not followed", false)},
	// Unlisted: 1xx without a final answer, 402, 403 with another code or none
	// (a firewall's page), 405, 406, 410, 413, 415, 418, 422, 451 … The API
	// documents none of them here, so nobody promises that nothing was done.
	// They don't count as failures: a server that answers so is alive.
	{0, 999, nil, doubt("answer that the API doesn't document", false)},
}

func both(c Class, reason string) finding { return finding{c, c, reason, false} }

func doubt(reason string, failure bool) finding {
	return finding{ClassAmbiguous, ClassUnavailable, reason, failure}
}

func firstAnswer(status, code int) finding {
	for _, r := range answerRows {
		if status >= r.low && status <= r.high && (r.codes == nil || slices.Contains(r.codes, code)) {
			return r.finding
		}
	}
	return unknownEnd
}

var unknownEnd = doubt("error of an unknown kind", false)

// firstEnd is the table's part for calls without a usable answer.
func firstEnd(code read.CallCode, sent bool) finding {
	switch {
	case code == read.CodeInvalid:
		// Refused by the client itself: it would be so each time.
		return both(ClassRejected, "invalid argument")
	case code == read.CodeCanceled && !sent:
		return both(ClassCanceled, "canceled before it was sent")
	case code == read.CodeCanceled:
		// Our giving up says nothing of what the API did, or of its health.
		return finding{ClassAmbiguous, ClassCanceled, "canceled after it may have been sent", false}
	case code == read.CodeTimeout && !sent:
		return finding{ClassUnavailable, ClassUnavailable, "timeout before it was sent", true}
	case code == read.CodeTimeout:
		return doubt("timeout after it may have been sent", true)
	case code == read.CodeNotSent && !sent:
		// Refused connection, unknown host, failed handshake, or a connection
		// that had died while idle: the API never saw it.
		return finding{ClassUnavailable, ClassUnavailable, "no connection", true}
	case code == read.CodeNoAnswer:
		return doubt("connection lost before the answer was complete", true)
	case code == read.CodeBadAnswer, code == read.CodeTooLarge:
		// A 2xx that can't be used: the write most likely happened. The server
		// is reachable and answers, so a breaker would help nobody.
		return doubt("unusable answer", false)
	default:
		return unknownEnd
	}
}
