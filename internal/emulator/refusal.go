package emulator

import "strings"

// problemBody is an error as RFC 9457 words it.
type problemBody struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   int    `json:"code"`
}

// refusal is the answer to a request that fails, with the code, the status and
// the form that the rules ask for.
func (x *exchange) refusal(err *apiError) answer {
	rules := x.e.cfg.Rules
	worded := *err
	if worded.code == codeInvalid {
		worded.code, worded.status = x.invalid(worded.param)
	}
	if rules.SpecificAs403 && isSpecific(worded.code) {
		worded.status = 403
		x.decided("specific-as-403")
	}
	if worded.status == 429 && rules.RateLimitHeaders {
		worded.retryAfter = max(worded.retryAfter, limitPause)
		x.decided("rate-limit-headers")
	}
	a := worded.answer()
	if rules.ProblemErrors {
		x.decided("problem-errors")
		a.body = problemBody{
			Type: worded.moreInfo(), Title: "Request refused", Status: worded.status, Detail: worded.message, Code: worded.code,
		}
	}
	if worded.status == 429 && rules.RateLimitHeaders {
		a.header = append(a.header, [2]string{reachedLimit, "true"})
	}
	return a
}

// invalid is the code and the status for a parameter that can't be taken.
func (x *exchange) invalid(param string) (code, status int) {
	r, specific := x.e.cfg.Rules, specificCode(param)
	switch {
	case r.SpecificInvalid && specific != 0:
		x.decided("specific-invalid")
		if r.SpecificInvalidAs404 {
			x.decided("specific-invalid-as-404")
			return specific, 404
		}
		return specific, 400
	case r.InvalidAs60300:
		x.decided("invalid-as-60300")
		return codeGenericInvalid, 400
	}
	return codeInvalid, 400
}

// isSpecific tells the codes whose pages name no status.
func isSpecific(code int) bool { return code >= 60361 && code <= 60393 }

// specificCode is what the dictionary has for one parameter; zero: nothing.
func specificCode(param string) int {
	switch param {
	case "FactorSid", "factor_sid":
		return 60362
	case "ServiceSid":
		return 60363
	case "ChallengeSid":
		return 60364
	case "Identity", "identity":
		return 60367
	case "PageSize":
		return 60373
	case "PageToken":
		return 60374
	}
	switch {
	case strings.HasPrefix(param, "Details."):
		return codeDetails
	case strings.HasPrefix(param, "Config."):
		return 60370
	}
	return 0
}
