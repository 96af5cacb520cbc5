package clients

import (
	"testing"

	"github.com/countersign/countersign/internal/emulator"
)

// cases are what each suite runs, under these names. rules are those of the
// world of twilio-go; the other suites set the same ones themselves.
var cases = []struct {
	name  string
	rules emulator.Rules
	run   func(*world)
}{
	{name: "create_push_full", run: createPushFull},
	{name: "create_push_minimal", run: createPushMinimal},
	{name: "create_expiration_with_zone", run: createExpirationWithZone},
	{name: "create_totp_right_code", run: createTOTPRightCode},
	{name: "create_totp_wrong_code", run: createTOTPWrongCode},
	{name: "create_totp_wrong_code_refused", rules: emulator.Rules{RefuseWrongCode: true}, run: createTOTPWrongCodeRefused},
	{name: "create_as_in_the_documents", run: createAsInTheDocuments},
	{name: "create_hidden_details_as_text", rules: emulator.Rules{AcceptQuotedJSON: true}, run: createHiddenDetailsAsText},
	{name: "create_details_with_date", rules: emulator.Rules{IncludeDate: true}, run: createDetailsWithDate},

	{name: "fetch_every_property", run: fetchEveryProperty},
	{name: "fetch_signature_fields", run: fetchSignatureFields},
	{name: "fetch_expired", run: fetchExpired},
	{name: "fetch_identity_in_other_case", run: fetchIdentityInOtherCase},

	{name: "list_filters", run: listFilters},
	{name: "list_order", run: listOrder},
	{name: "list_page_size_and_limit", run: listPageSizeAndLimit},
	{name: "list_streams_many_pages", run: listStreamsManyPages},
	{name: "list_stream_ends_at_limit", run: listStreamEndsAtLimit},
	{name: "list_pages", run: listPages},
	{name: "list_empty", run: listEmpty},
	{name: "list_page_size_clamped", rules: emulator.Rules{ClampPageSize: true}, run: listPageSizeClamped},

	{name: "update_push_approved", run: updatePushApproved},
	{name: "update_push_denied", run: updatePushDenied},
	{name: "update_push_forged", run: updatePushForged},
	{name: "update_totp_right_code", run: updateTOTPRightCode},
	{name: "update_totp_wrong_code", run: updateTOTPWrongCode},
	{name: "update_totp_code_reused", rules: emulator.Rules{RefuseReusedCode: true}, run: updateTOTPCodeReused},
	{name: "update_metadata", run: updateMetadata},

	{name: "factor_push_life", run: factorPushLife},
	{name: "factor_totp_life", run: factorTOTPLife},
	{name: "factor_list_pages", run: factorListPages},
	{name: "entity_life", run: entityLife},
	{name: "entity_list_pages", run: entityListPages},
	{name: "notification_sent_again", run: notificationSentAgain},
	{name: "access_token", run: accessToken},
	{name: "api_key", run: apiKey},

	{name: "error_20003_credentials", run: error20003},
	{name: "error_20404_not_found", run: error20404},
	{name: "error_60390_60391_60392_not_found", rules: emulator.Rules{SpecificNotFound: true}, run: errorSpecificNotFound},
	{name: "error_60306_create", run: error60306Create},
	{name: "error_60306_update", run: error60306Update},
	{name: "error_60306_list", run: error60306List},
	{name: "error_60306_names", run: error60306Names},
	{name: "error_factor_parameters", run: errorFactorParameters},
	{name: "error_60301_entity_exists", run: error60301},
	{name: "error_60315_factor_count", run: error60315},
	{name: "error_60317_factor_exists", run: error60317},
	{name: "error_60318_unverified", run: error60318},
	{name: "error_60322_responded", run: error60322},
	{name: "error_60323_expired", run: error60323},
	{name: "error_60308_challenge_attempts", run: error60308},
	{name: "error_60309_notifications", run: error60309},
	{name: "error_60310_factor_attempts", run: error60310},
	{name: "error_60312_creation_limit", rules: emulator.Rules{CreationLimits: true}, run: error60312},
	{name: "error_20429_throttled", run: error20429},
	{name: "error_5xx", run: error5xx},
	{name: "error_problem_body", rules: emulator.Rules{ProblemErrors: true}, run: errorProblemBody},
	{name: "error_garbled_answer", run: errorGarbledAnswer},
	{name: "error_connection_reset", run: errorConnectionReset},
	{name: "error_timeout", run: errorTimeout},
	{name: "error_in_the_middle_of_a_list", run: errorInTheMiddleOfAList},
}

// TestTwilioGo is the suite of twilio-go.
func TestTwilioGo(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(newWorld(t, c.rules)) })
	}
}
