package emulator

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The API's error codes that the emulator answers with.
const (
	codeBadRequest       = 20001
	codeAuthenticate     = 20003
	codeMethod           = 20004
	codeNotFound         = 20404
	codeTooMany          = 20429
	codeRateLimited      = 25109
	codeServerError      = 20500
	codeUnavailable      = 20503
	codeEntityExists     = 60301
	codeEntityExistsToo  = 60304
	codeTokenInvalid     = 60305
	codeNoSupport        = 60204
	codeGenericInvalid   = 60300
	codeInvalid          = 60306
	codeNoPlatform       = 60307
	codeChallengeChecks  = 60308
	codeNotifications    = 60309
	codeFactorChecks     = 60310
	codeFactorRefused    = 60311
	codeChallengeCreates = 60312
	codeFactorForeign    = 60313
	codeBinding          = 60314
	codeFactorCount      = 60315
	codeFactorExists     = 60317
	codeUnverified       = 60318
	codeResponded        = 60322
	codeExpired          = 60323
	codeRefused          = 60324
	codeDetails          = 60368
	codeFactorType       = 60369
	codeFactorMissing    = 60390
	codeChallengeMissing = 60391
	codeEntityMissing    = 60392
)

// apiError is an answer in the API's error form.
type apiError struct {
	status     int
	code       int
	param      string // that is invalid, where the code is that of invalid parameters
	message    string
	retryAfter time.Duration // zero: no Retry-After header
}

// errorBody is the JSON of every error.
type errorBody struct {
	Code     int    `json:"code"`
	Message  string `json:"message"`
	MoreInfo string `json:"more_info"`
	Status   int    `json:"status"`
}

func (e *apiError) moreInfo() string {
	return "https://www.twilio.com/docs/errors/" + strconv.Itoa(e.code)
}

func (e *apiError) answer() answer {
	a := answer{status: e.status, body: errorBody{Code: e.code, Message: e.message, Status: e.status, MoreInfo: e.moreInfo()}}
	if e.retryAfter > 0 {
		seconds := (e.retryAfter + time.Second - 1) / time.Second
		a.header = append(a.header, [2]string{"Retry-After", strconv.FormatInt(int64(seconds), 10)})
	}
	if e.status == 401 {
		a.header = append(a.header, [2]string{"WWW-Authenticate", `Basic realm="Challenge API emulator"`})
	}
	return a
}

// invalid refuses a parameter and says why, as 400/60306.
func invalid(name, format string, args ...any) *apiError {
	return &apiError{status: 400, code: codeInvalid, param: name, message: "Invalid parameter: " + name + " " + fmt.Sprintf(format, args...)}
}

// badRequest refuses a request as a whole, as 400/20001.
func badRequest(message string) *apiError {
	return &apiError{status: 400, code: codeBadRequest, message: message}
}

func forbidden(code int, message string) *apiError {
	return &apiError{status: 403, code: code, message: message}
}

func tooMany(code int, message string) *apiError {
	return &apiError{status: 429, code: code, message: message}
}

func serverError() *apiError {
	return &apiError{status: 500, code: codeServerError, message: "An internal server error has occurred"}
}

func unauthorized() *apiError {
	return &apiError{status: 401, code: codeAuthenticate, message: "Authenticate"}
}

// notFound names the path without its version, as the API does.
func (x *exchange) notFound(specific int) *apiError {
	status, code := 404, codeNotFound
	if x.e.cfg.Rules.SpecificNotFound && specific != 0 {
		code = specific
		x.decided("specific-not-found")
		if x.e.cfg.Rules.NotFoundAs400 {
			status = 400
			x.decided("not-found-as-400")
		}
	}
	path := strings.TrimPrefix(x.r.URL.EscapedPath(), "/v2")
	return &apiError{status: status, code: code, message: "The requested resource " + path + " was not found"}
}
