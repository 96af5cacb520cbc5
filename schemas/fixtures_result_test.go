package schemas_test

import (
	"encoding/json"
	"time"

	"github.com/countersign/countersign/schemas"
)

// result returns a result with what every result has.
func result(op schemas.Operation, outcome schemas.Outcome, change func(r *schemas.Result)) *schemas.Result {
	r := &schemas.Result{
		Version: "1.0", RequestID: "signin-4711", Operation: op, Outcome: outcome,
		ServiceSID: serviceSID, Identity: identity, Account: "main", Attempts: 1,
		Request: schemas.Coordinates{Topic: "challenge.requests", Partition: 3, Offset: 41, Timestamp: record},
		Times:   schemas.Times{Received: record.Add(7 * time.Millisecond), Called: after(9 * time.Millisecond), Completed: record.Add(131 * time.Millisecond)},
	}
	r.ID = schemas.ResultID("countersign", r.Request, 0)
	if op == schemas.OperationFetch || op == schemas.OperationUpdate {
		r.ChallengeSID = challengeSID
	}
	if change != nil {
		change(r)
	}
	return r
}

func withChallenge(status string) func(r *schemas.Result) {
	return func(r *schemas.Result) {
		r.APIRequestID = "RQ5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8"
		r.Challenge = resource(status)
	}
}

func withError(e schemas.Error) func(r *schemas.Result) {
	return func(r *schemas.Result) { r.Error = &e }
}

// uncalled is a result without a call.
func uncalled(change func(r *schemas.Result)) func(r *schemas.Result) {
	return func(r *schemas.Result) {
		r.Attempts, r.Times.Called = 0, nil
		if change != nil {
			change(r)
		}
	}
}

func pages(index int, last bool) func(r *schemas.Result) {
	return func(r *schemas.Result) {
		r.ID = schemas.ResultID("countersign", r.Request, index)
		r.Challenges = []json.RawMessage{resource("pending"), resource("expired")}
		r.Page = &schemas.Page{Index: index, Last: last}
	}
}

// unread is the result of an event from which little more than its id was read.
func unread(class schemas.Class, faults ...schemas.Fault) func(r *schemas.Result) {
	return uncalled(func(r *schemas.Result) {
		r.ServiceSID, r.Identity, r.Account, r.ChallengeSID = "", "", "", ""
		r.Error = &schemas.Error{Class: class, Message: "the event breaks the contract", Faults: faults}
	})
}

var (
	tooLate  = schemas.Error{Class: schemas.ClassExpired, Message: "not sent: not_after has passed"}
	notFound = schemas.Error{
		Class: schemas.ClassRejected, Code: 20404, Status: 404,
		Message: "The requested resource was not found", MoreInfo: "https://www.twilio.com/docs/errors/20404",
	}
	unclear = schemas.Error{Class: schemas.ClassAmbiguous, Message: "no answer came, and the API can't tell whether the call was taken"}
	busy    = schemas.Error{Class: schemas.ClassThrottled, Code: 20429, Status: 429, Message: "Too many requests"}
	duped   = uncalled(func(r *schemas.Result) {
		at := schemas.Coordinates{Topic: "challenge.requests", Partition: 3, Offset: 12}
		r.Original = &schemas.Original{
			ResultID: schemas.ResultID("countersign", at, 0), ChallengeSID: challengeSID,
			Outcome: schemas.OutcomeSucceeded, Topic: at.Topic, Partition: at.Partition, Offset: at.Offset,
		}
	})
)

// goldenResults are the results of testdata/result, by file name.
var goldenResults = map[string]*schemas.Result{
	"create-succeeded": result(schemas.OperationCreate, schemas.OutcomeSucceeded, withChallenge("pending")),
	"create-succeeded-totp": result(schemas.OperationCreate, schemas.OutcomeSucceeded, func(r *schemas.Result) {
		withChallenge("approved")(r)
		r.Challenge = fullResource("approved", "totp", "not_needed")
	}),
	"create-adopted":   result(schemas.OperationCreate, schemas.OutcomeAdopted, withChallenge("pending")),
	"create-duplicate": result(schemas.OperationCreate, schemas.OutcomeDuplicate, duped),
	"create-rejected": result(schemas.OperationCreate, schemas.OutcomeRejected, withError(schemas.Error{
		Class: schemas.ClassRejected, Code: 60312, Status: 429, Message: "Challenge creation limit per factor reached",
		MoreInfo: "https://www.twilio.com/docs/errors/60312", Limit: "challenges per factor: 50 an hour, 100 in 24 hours",
	})),
	"create-expired": result(schemas.OperationCreate, schemas.OutcomeExpired, uncalled(withError(tooLate))),
	"create-failed":  result(schemas.OperationCreate, schemas.OutcomeFailed, withError(unclear)),

	"fetch-succeeded": result(schemas.OperationFetch, schemas.OutcomeSucceeded, func(r *schemas.Result) {
		withChallenge("pending")(r)
		r.Headers = map[string]string{"Twilio-Verify-Signature-Fields": "sid,status,details"}
	}),
	"fetch-succeeded-passkeys": result(schemas.OperationFetch, schemas.OutcomeSucceeded, func(r *schemas.Result) {
		withChallenge("pending")(r)
		r.Challenge = passkeysResource()
	}),
	"fetch-succeeded-expired": result(schemas.OperationFetch, schemas.OutcomeSucceeded, func(r *schemas.Result) {
		withChallenge("expired")(r)
		r.Challenge = fullResource("expired", "push", "not_requested")
	}),
	"fetch-duplicate": result(schemas.OperationFetch, schemas.OutcomeDuplicate, uncalled(nil)),
	"fetch-rejected":  result(schemas.OperationFetch, schemas.OutcomeRejected, withError(notFound)),
	"fetch-expired":   result(schemas.OperationFetch, schemas.OutcomeExpired, uncalled(withError(tooLate))),
	"fetch-failed":    result(schemas.OperationFetch, schemas.OutcomeFailed, withError(busy)),

	"list-succeeded":      result(schemas.OperationList, schemas.OutcomeSucceeded, func(r *schemas.Result) { r.Challenges = []json.RawMessage{resource("denied")} }),
	"list-succeeded-none": result(schemas.OperationList, schemas.OutcomeSucceeded, func(r *schemas.Result) { r.Challenges = []json.RawMessage{} }),
	"list-succeeded-passkeys": result(schemas.OperationList, schemas.OutcomeSucceeded, func(r *schemas.Result) {
		r.Challenges = []json.RawMessage{passkeysResource(), resource("denied")}
	}),
	"list-succeeded-page0": result(schemas.OperationList, schemas.OutcomeSucceeded, pages(0, false)),
	"list-succeeded-page1": result(schemas.OperationList, schemas.OutcomeSucceeded, pages(1, true)),
	"list-duplicate":       result(schemas.OperationList, schemas.OutcomeDuplicate, duped),
	"list-rejected":        result(schemas.OperationList, schemas.OutcomeRejected, withError(notFound)),
	"list-expired":         result(schemas.OperationList, schemas.OutcomeExpired, uncalled(withError(tooLate))),
	"list-failed": result(schemas.OperationList, schemas.OutcomeFailed, withError(schemas.Error{
		Class: schemas.ClassTooLarge, Message: "one challenge alone is larger than a record may be",
	})),

	"update-succeeded": result(schemas.OperationUpdate, schemas.OutcomeSucceeded, func(r *schemas.Result) {
		withChallenge("approved")(r)
		r.Headers = map[string]string{"Twilio-Verify-Challenge-Signature": "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"}
	}),
	"update-adopted":   result(schemas.OperationUpdate, schemas.OutcomeAdopted, withChallenge("approved")),
	"update-duplicate": result(schemas.OperationUpdate, schemas.OutcomeDuplicate, duped),
	"update-rejected":  result(schemas.OperationUpdate, schemas.OutcomeRejected, withError(schemas.Error{Class: schemas.ClassRejected, Code: 60322, Status: 403, Message: "Challenge already responded"})),
	"update-expired":   result(schemas.OperationUpdate, schemas.OutcomeExpired, uncalled(withError(tooLate))),
	"update-failed": result(schemas.OperationUpdate, schemas.OutcomeFailed, func(r *schemas.Result) {
		withChallenge("approved")(r)
		r.Error, r.Attempts = &unclear, 2
	}),

	"rejected-invalid": result("", schemas.OutcomeRejected, unread(schemas.ClassInvalid,
		schemas.Fault{Path: "$.operation", Message: "is required"}, schemas.Fault{Path: `$["odd name"]`, Message: "appears more than once"})),
	"failed-version":       result(schemas.OperationCreate, schemas.OutcomeFailed, unread(schemas.ClassVersion, schemas.Fault{Path: "$.version", Message: "is 2.0; only 1.x is read here"})),
	"rejected-account":     result(schemas.OperationCreate, schemas.OutcomeRejected, uncalled(withError(schemas.Error{Class: schemas.ClassAccount, Message: "account main is not configured"}))),
	"rejected-guard":       result(schemas.OperationCreate, schemas.OutcomeRejected, uncalled(withError(schemas.Error{Class: schemas.ClassGuard, Message: "too many challenges", Limit: "per identity: 3 a minute"}))),
	"rejected-id-conflict": result(schemas.OperationCreate, schemas.OutcomeRejected, uncalled(withError(schemas.Error{Class: schemas.ClassIDConflict, Message: "the id was used before with another body"}))),
}

// classes are all classes, in the contract's order.
var classes = []schemas.Class{
	schemas.ClassInvalid, schemas.ClassVersion, schemas.ClassRejected, schemas.ClassThrottled, schemas.ClassUnavailable,
	schemas.ClassAmbiguous, schemas.ClassCredentials, schemas.ClassExpired, schemas.ClassIDConflict, schemas.ClassAccount,
	schemas.ClassTooLarge, schemas.ClassGuard, schemas.ClassNotJSON, schemas.ClassNoID,
}

// goldenDeadLetters are the dead letters of testdata/deadletter, one of each
// class, by file name.
var goldenDeadLetters = func() map[string]*schemas.DeadLetter {
	all := make(map[string]*schemas.DeadLetter)
	for i, class := range classes {
		all[string(class)] = &schemas.DeadLetter{
			Version: "1.0", Class: class, Message: "what went wrong", RequestID: "signin-4711", HasResult: true, Redrivable: i%2 == 0,
			Coordinates: schemas.Coordinates{Topic: "challenge.requests", Partition: 3, Offset: 41, Timestamp: record.Add(120 * time.Millisecond)},
			Attempts:    i, At: record.Add(time.Second),
		}
	}
	for _, class := range []schemas.Class{schemas.ClassNotJSON, schemas.ClassNoID} {
		d := all[string(class)]
		d.RequestID, d.HasResult, d.Redrivable, d.Attempts, d.Message = "", false, false, 0, ""
	}
	all["throttled"].Code, all["throttled"].Redrives = 20429, 2
	return all
}()
