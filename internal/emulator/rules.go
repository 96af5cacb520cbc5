package emulator

import (
	"reflect"
	"strings"
)

// Rules are switches for behaviour that the API's description leaves open. The
// zero value is the reading that the documents and samples suggest most. What
// depends on chance or on time is in Faults.
type Rules struct {
	// CreationLimits enforces code 60312 on TOTP factors: 10 challenges in 24 h
	// for codes of up to 4 digits, else 50 in an hour and 100 in 24 h. The error
	// dictionary says so; off, because tests make more.
	CreationLimits bool `rule:"creation-limits"`
	// RefuseWrongCode answers 403/60324, and makes nothing, where a create carries a wrong
	// TOTP code. Off: 201 and a pending challenge, as the vendor's sample expects.
	RefuseWrongCode bool `rule:"refuse-wrong-code"`
	// FreeCodeAtCreate leaves a wrong code of a create out of the five attempts that its
	// challenge has. Off: it is the first of them. Nothing is published of it.
	FreeCodeAtCreate bool `rule:"free-code-at-create"`
	// RefuseReusedCode treats a TOTP code that a factor has already been
	// approved by as wrong (RFC 6238, 5.2). Nothing is published of it.
	RefuseReusedCode bool `rule:"refuse-reused-code"`
	// KeepPendingOnWrongUpdate answers 200 and the unchanged challenge where an update
	// carries a wrong code or signature; the attempt counts. Off: 403/60324, by the error dictionary.
	KeepPendingOnWrongUpdate bool `rule:"keep-pending-on-wrong-update"`
	// KeepUnverifiedOnWrongCode answers 200 and the unverified factor where its
	// verification fails, which the vendor's sample allows for. Off: 403/60311, by the error dictionary.
	KeepUnverifiedOnWrongCode bool `rule:"keep-unverified-on-wrong-code"`
	// AcceptEmptyUpdate answers 200 to an update with neither AuthPayload nor Metadata: the
	// description marks none as required. Off: 400/60306, because it updates nothing.
	AcceptEmptyUpdate bool `rule:"accept-empty-update"`
	// MetadataAfterAnswer lets an update that has Metadata alone set that of a challenge that is
	// answered or expired. Off: 403/60322 or 60323. Nothing is published of it.
	MetadataAfterAnswer bool `rule:"metadata-after-answer"`
	// SpecificNotFound answers 60390, 60391 or 60392 for a missing factor, challenge or
	// entity. Off: 20404. The dictionary has both.
	SpecificNotFound bool `rule:"specific-not-found"`
	// NotFoundAs400 gives these specific codes the status 400: their pages say none.
	// It includes SpecificNotFound.
	NotFoundAs400 bool `rule:"not-found-as-400"`
	// EmptyListWithoutEntity answers a list of challenges with an empty page where there is no
	// such entity. Off: not found. Nothing is published of it.
	EmptyListWithoutEntity bool `rule:"empty-list-without-entity"`
	// InvalidAs60300 answers 400/60300 to an invalid parameter. Off: 60306. The
	// dictionary has both.
	InvalidAs60300 bool `rule:"invalid-as-60300"`
	// SpecificInvalid answers the code of the parameter's own, where the dictionary has
	// one: 60362 to 60364, 60367, 60368, 60370, 60373, 60374. It goes before InvalidAs60300.
	SpecificInvalid bool `rule:"specific-invalid"`
	// SpecificInvalidAs404 gives these specific codes the status 404: their pages say none.
	// It includes SpecificInvalid.
	SpecificInvalidAs404 bool `rule:"specific-invalid-as-404"`
	// SpecificAs403 gives 60369 and the codes of SpecificNotFound and SpecificInvalid the status
	// 403: their pages say none. It includes these two and goes before NotFoundAs400 and SpecificInvalidAs404.
	SpecificAs403 bool `rule:"specific-as-403"`
	// MissingMessage60368 answers 400/60368 to a push create without a message, also
	// where it has fields. Off: as other invalid parameters. Both fit the dictionary.
	MissingMessage60368 bool `rule:"missing-message-60368"`
	// MissingAs20001 answers 400/20001 to a create without FactorSid, or without the message that
	// push requires, as "Missing required parameter" was seen without its code.
	// MissingMessage60368 goes before it. Off: as other invalid parameters.
	MissingAs20001 bool `rule:"missing-as-20001"`
	// RefuseDetailsForTOTP answers 400/60306 to a create for a TOTP factor with a message or
	// fields: they are used for push. Off: taken and shown. The description refuses nothing.
	RefuseDetailsForTOTP bool `rule:"refuse-details-for-totp"`
	// AcceptQuotedJSON unwraps one JSON string around HiddenDetails and
	// Metadata, which is what twilio-go sends when it is given a Go string. Off: refused.
	AcceptQuotedJSON bool `rule:"accept-quoted-json"`
	// RefuseUnknownParameters answers 400/60306 to a parameter that the operation
	// does not have. Off: ignored. Nothing is published of it.
	RefuseUnknownParameters bool `rule:"refuse-unknown-parameters"`
	// ClampPageSize takes a PageSize above 1000 as 1000. Off: 400/60306. Only the
	// maximum is published.
	ClampPageSize bool `rule:"clamp-page-size"`
	// OpaquePageTokens makes page tokens of another form. Off: DN and the SID of the last
	// item, as in the mobile SDKs' fixtures, the only ones to be seen.
	OpaquePageTokens bool `rule:"opaque-page-tokens"`
	// PagesWithoutToken makes page URLs that tell pages by Page alone, as the reference's example
	// has them, and takes Page for the page's number. It goes before OpaquePageTokens. Off: by tokens;
	// Page is the client's own state.
	PagesWithoutToken bool `rule:"pages-without-token"`
	// PreviousOfFirst shows the first page's own URL as its previous_page_url, as one of the
	// reference's examples does. Off: null, as in the other.
	PreviousOfFirst bool `rule:"previous-of-first"`
	// ReverseTies lists challenges of the same second in the reverse order of their
	// making. Off: in that order. No key of the order is published.
	ReverseTies bool `rule:"reverse-ties"`
	// OrderByUpdate orders lists by date_updated. Off: by date_created. No key of the
	// order is published.
	OrderByUpdate bool `rule:"order-by-update"`
	// IncludeDate adds details.date, the service setting push.include_date, which is off
	// by default.
	IncludeDate bool `rule:"include-date"`
	// KeepDateUpdated shows an expired challenge with the date_updated that it had before.
	// Off: that of its expiration. Nothing is published of it.
	KeepDateUpdated bool `rule:"keep-date-updated"`
	// FillDateResponded shows a date_responded, that of the creation, while nobody has
	// responded, as the description's examples do. Off: null, as in the SDKs' fixtures.
	FillDateResponded bool `rule:"fill-date-responded"`
	// OtherRespondedReasons shows responded_reason not_needed where a code approved the
	// challenge at its creation and not_requested where it expired. Off: none throughout. What the
	// values mean is not published.
	OtherRespondedReasons bool `rule:"other-responded-reasons"`
	// OmitNulls leaves out a challenge's properties that are null. Off: shown, as in the
	// examples; the description calls them nullable and never says that they are there.
	OmitNulls bool `rule:"omit-nulls"`
	// LowerCaseIdentity shows identities in lower case, as page URLs do. Off: as
	// first written, by an example. CaseSensitiveIdentity goes before it.
	LowerCaseIdentity bool `rule:"lower-case-identity"`
	// CaseSensitiveIdentity tells identities of different case apart. Off: the same entity,
	// inferred from an example.
	CaseSensitiveIdentity bool `rule:"case-sensitive-identity"`
	// SignAllFields names every property in Twilio-Verify-Signature-Fields, status
	// included, as the mobile SDKs' tests do. Off: Config.SignatureFields. The live list is not published.
	SignAllFields bool `rule:"sign-all-fields"`
	// OmitCredentialSID leaves config.credential_sid out of push factors, as the
	// description's examples do. Off: shown, because the mobile SDKs require it.
	OmitCredentialSID bool `rule:"omit-credential-sid"`
	// Throttle25109 answers 25109 where a call is throttled. Off: 20429. The dictionary has both,
	// the former without a status.
	Throttle25109 bool `rule:"throttle-25109"`
	// ThrottleAs400 gives 25109 the status 400: its page says none. It includes Throttle25109.
	ThrottleAs400 bool `rule:"throttle-as-400"`
	// EntityExists60304 answers 60304 where an entity is there already. Off: 60301. The dictionary
	// has one title for both.
	EntityExists60304 bool `rule:"entity-exists-60304"`
	// NoPlatformAs403 gives 60307, of a notification for the platform none, the status 403: its page
	// says none. Off: 400.
	NoPlatformAs403 bool `rule:"no-platform-as-403"`
	// RateLimitHeaders sends Retry-After and Twilio-Reached-Rate-Limit with a create that
	// succeeds and with every 429, as described for Verifications. Off: Retry-After where Faults ask for it.
	RateLimitHeaders bool `rule:"rate-limit-headers"`
	// ProblemErrors words errors as RFC 9457 does, with the code beside, which the official
	// clients can read. Off: code, message, more_info and status.
	ProblemErrors bool `rule:"problem-errors"`
	// OmitTwilioHeaders leaves out Twilio-Request-Id, Twilio-Request-Duration and
	// Twilio-Concurrent-Requests: they have been seen and are described nowhere.
	OmitTwilioHeaders bool `rule:"omit-twilio-headers"`
	// HidePasskeys leaves passkeys challenges out of the form API's fetch and list.
	// Off: they are shown, because factor_type there has the value passkeys.
	HidePasskeys bool `rule:"hide-passkeys"`
	// FetchDiscoverable lets a fetch in the name of any identity show a passkeys
	// challenge that was made for nobody. Off: it belongs to no entity and is not found.
	FetchDiscoverable bool `rule:"fetch-discoverable"`
	// PasskeysDisabled answers 500/20500 below Passkeys, as an account that the pilot has not
	// enabled was seen to get. Off: enabled.
	PasskeysDisabled bool `rule:"passkeys-disabled"`
	// RandomPasskeysChallenge makes options.publicKey.challenge of random bytes, as the
	// passkeys SDK words it. Off: of the challenge's SID, as in its example.
	RandomPasskeysChallenge bool `rule:"random-passkeys-challenge"`
}

// ruleTag names the rule of a field on command lines and in documents.
const ruleTag = "rule"

// RuleNames returns the names of all rules, in the order of Rules.
func RuleNames() []string {
	t := reflect.TypeFor[Rules]()
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Tag.Get(ruleTag)
	}
	return names
}

// Set switches the rule of that name on. An unknown name is an *Error with
// CodeRule, whose message lists the names.
func (r *Rules) Set(name string) error {
	for i, known := range RuleNames() {
		if known == name {
			reflect.ValueOf(r).Elem().Field(i).SetBool(true)
			return nil
		}
	}
	return failf(CodeRule, "there is no rule %q; the rules are %s", name, strings.Join(RuleNames(), ", "))
}

// withIncluded switches on what other rules include.
func (r Rules) withIncluded() Rules {
	r.SpecificNotFound = r.SpecificNotFound || r.NotFoundAs400 || r.SpecificAs403
	r.SpecificInvalid = r.SpecificInvalid || r.SpecificInvalidAs404 || r.SpecificAs403
	r.NotFoundAs400 = r.NotFoundAs400 && !r.SpecificAs403
	r.SpecificInvalidAs404 = r.SpecificInvalidAs404 && !r.SpecificAs403
	r.Throttle25109 = r.Throttle25109 || r.ThrottleAs400
	r.LowerCaseIdentity = r.LowerCaseIdentity && !r.CaseSensitiveIdentity
	return r
}
