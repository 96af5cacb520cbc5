package demo

import "slices"

// kind is one kind of request of the stream.
type kind string

// The kinds.
const (
	kindPush         kind = "push"          // create, answered by a virtual device
	kindCodeRight    kind = "code_right"    // create with the right TOTP code
	kindOpen         kind = "open"          // TOTP create without a code
	kindFetch        kind = "fetch"         // of a challenge that exists
	kindList         kind = "list"          // in several forms
	kindAnswer       kind = "answer"        // update with the right code
	kindInvalid      kind = "invalid"       // breaks a rule of the event contract
	kindNotJSON      kind = "not_json"      // no JSON at all
	kindLate         kind = "late"          // not_after has passed
	kindVersion      kind = "version"       // another major version
	kindNoID         kind = "no_id"         // no id that a result could refer to
	kindNoFactor     kind = "no_factor"     // well-formed, but there is no such factor
	kindCodeWrong    kind = "code_wrong"    // create with a wrong code
	kindAnswerWrong  kind = "answer_wrong"  // update with a wrong code
	kindAnswered     kind = "answered"      // update of a challenge that was answered before
	kindMetadata     kind = "metadata"      // update without a payload
	kindNoChallenge  kind = "no_challenge"  // well-formed, but there is no such challenge
	kindNoMessage    kind = "no_message"    // a push create without what the API wants for push
	kindUnknownField kind = "unknown_field" // a field that version 1.0 lacks: a warning, no fault
	kindNobody       kind = "no_identity"   // well-formed, but nobody
)

// base says which challenges a request can be about.
type base int

const (
	baseNone     base = iota
	baseAny           // any that was made
	baseOpen          // TOTP, waiting for its code
	baseAnswered      // TOTP, approved as it was made
)

// kindSpec is what the plan has to know of a kind.
type kindSpec struct {
	kind   kind
	weight int    // of 200 steps, about
	of     base   // what it is about
	closes bool   // and answers for good
	makes  []base // what its challenge can serve as
}

// kinds lists every kind. A short stream has those that come first.
func kinds() []kindSpec {
	return []kindSpec{
		{kind: kindPush, weight: 40, makes: []base{baseAny}},
		{kind: kindCodeRight, weight: 14, makes: []base{baseAny, baseAnswered}},
		{kind: kindOpen, weight: 14, makes: []base{baseAny, baseOpen}},
		{kind: kindFetch, weight: 20, of: baseAny},
		{kind: kindList, weight: 16},
		{kind: kindAnswer, weight: 10, of: baseOpen, closes: true},
		{kind: kindInvalid, weight: 39},
		{kind: kindNotJSON, weight: 6},
		{kind: kindLate, weight: 8},
		{kind: kindVersion, weight: 3},
		{kind: kindNoID, weight: 4},
		{kind: kindNoFactor, weight: 4},
		{kind: kindCodeWrong, weight: 6},
		{kind: kindAnswerWrong, weight: 4, of: baseOpen},
		{kind: kindAnswered, weight: 3, of: baseAnswered},
		{kind: kindMetadata, weight: 6, of: baseOpen},
		{kind: kindNoChallenge, weight: 3},
		{kind: kindNoMessage, weight: 2},
		{kind: kindUnknownField, weight: 2},
		{kind: kindNobody, weight: 2},
	}
}

func weights() []int {
	var out []int
	for _, k := range kinds() {
		out = append(out, k.weight)
	}
	return out
}

// spec returns a kind's line of the list.
func (k kind) spec() kindSpec {
	all := kinds()
	return all[slices.IndexFunc(all, func(s kindSpec) bool { return s.kind == k })]
}
