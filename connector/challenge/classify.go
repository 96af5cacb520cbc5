package challenge

import "github.com/countersign/countersign/connector/challenge/verdict"

// Class says what the end of a call means for its request. It is package verdict's,
// which is for those who shall judge calls and be unable to make them.
type Class = verdict.Class

// Verdict is what Classify found.
type Verdict = verdict.Verdict

// The classes.
const (
	ClassOK          = verdict.ClassOK
	ClassThrottled   = verdict.ClassThrottled
	ClassRejected    = verdict.ClassRejected
	ClassCredentials = verdict.ClassCredentials
	ClassAmbiguous   = verdict.ClassAmbiguous
	ClassUnavailable = verdict.ClassUnavailable
	ClassCanceled    = verdict.ClassCanceled
)

// Classify returns what err, as a method of Client gave it, means; write tells
// a create or update from a read.
func Classify(write bool, err error) Verdict { return verdict.Classify(write, err) }
