package emulator

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// exchange is one request to the API and what is known about it so far.
type exchange struct {
	e          *Emulator
	w          http.ResponseWriter
	r          *http.Request
	line       *line // the connection; nil where Start did not accept it
	route      route
	account    *account
	fromDevice bool
	start      time.Time
	json       []byte // the body of a request that takes JSON
	plan       plan
	logged     uint64 // sequence number of the challenge that was made; zero: none
}

// answer is a response that is yet to be written. A nil body is empty; a string is
// HTML; anything else is JSON.
type answer struct {
	status int
	body   any
	header [][2]string
}

// ServeHTTP answers the API and, under /_emulator/, the administration.
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.handlers.enter()
	defer e.handlers.leave()
	if isAdmin(r.URL.Path) {
		e.serveAdmin(w, r)
		return
	}
	x := &exchange{e: e, w: w, r: r, line: lineOf(r.Context()), route: parseRoute(r.URL), start: e.cfg.Now()}
	e.stats.inflight.enter()
	defer e.stats.inflight.leave()
	x.serve()
}

// serve takes a request through its checks and its planned faults.
func (x *exchange) serve() {
	op, handle := x.endpoint()
	x.e.stats.called(op)
	if x.e.outage.unavailable() {
		x.e.stats.fault(FaultUnavailable)
		x.respond(unavailable(503), plan{})
		return
	}
	err := x.admit()
	if err == nil {
		err = x.readBody()
	}
	if err != nil {
		x.respond(x.refusal(err), plan{})
		return
	}
	x.account.inflight.enter()
	defer x.account.inflight.leave()
	faults := x.e.faults.Load()
	p := plan{kind: FaultNone}
	if op.isChallenge() && (!x.fromDevice || faults.Devices) {
		if n := faults.Concurrency; n > 0 && faults.covers(op) && x.account.inflight.now() > int64(n) {
			x.e.stats.fault(FaultConcurrency)
			x.respond(x.refusal(x.throttled(faults)), p)
			return
		}
		p = x.e.dice.roll(op, faults)
	}
	x.plan = p
	x.carryOut(op, handle, p, faults)
}

// carryOut does the work between the faults that come before and after it.
func (x *exchange) carryOut(op Operation, handle func(*exchange) (answer, *apiError), p plan, faults *Faults) {
	x.e.stats.fault(p.kind)
	if p.kind == FaultThrottle {
		x.respond(x.refusal(x.throttled(faults)), p)
		return
	}
	if p.tail {
		x.e.stats.fault(FaultTail)
	}
	x.e.sleep(p.before)
	switch p.kind {
	case FaultServerError:
		x.respond(unavailable(faults.serverErrorStatus()), p)
		return
	case FaultResetBefore:
		x.reset()
		return
	case FaultResetLate:
		x.resetLate(op, handle, p)
		return
	}
	x.e.sleep(p.late)
	x.e.hook(x.e.cfg.BeforeWork, op, x.r)
	if x.line.isCut() { // a dead API does nothing more
		x.reset()
		return
	}
	a, err := handle(x)
	if err != nil {
		a = x.refusal(err)
	}
	x.e.hook(x.e.cfg.AfterWork, op, x.r)
	x.e.sleep(p.after)
	switch p.kind {
	case FaultServerErrorAfter:
		a = unavailable(faults.serverErrorStatus())
	case FaultGarbled:
		a.body = gatewayPage
	case FaultResetAfter:
		x.reset()
		return
	}
	x.respond(a, p)
}

// resetLate does the work when its caller has long gone. The answer is
// nobody's.
func (x *exchange) resetLate(op Operation, handle func(*exchange) (answer, *apiError), p plan) {
	// Where the connection can't be taken over, resetting panics, which ends the
	// handler: the work is then done behind it, and the caller hears of the end last.
	defer func() {
		x.e.sleep(p.late)
		x.e.hook(x.e.cfg.BeforeWork, op, x.r)
		_, _ = handle(x)
		x.e.hook(x.e.cfg.AfterWork, op, x.r)
	}()
	x.reset()
}

// endpoint finds what serves the route. An unknown route or method is served
// too, so that it is answered, after authentication, with 404 or 405.
func (x *exchange) endpoint() (Operation, func(*exchange) (answer, *apiError)) {
	methods, ok := x.e.endpoints[x.route.place]
	if !ok {
		return OperationUnknown, func(x *exchange) (answer, *apiError) { return answer{}, x.notFound(0) }
	}
	if ep, ok := methods[x.r.Method]; ok {
		return ep.operation, ep.serve
	}
	return OperationUnknown, func(*exchange) (answer, *apiError) {
		return answer{}, &apiError{status: 405, code: codeMethod, message: "Method not allowed"}
	}
}

// admit checks who calls, and that the path's names are well formed and the
// service exists for the account.
func (x *exchange) admit() *apiError {
	if err := x.authenticate(); err != nil {
		return err
	}
	r := x.route
	if r.place == placeNone {
		return nil
	}
	if !isSID(r.service, "VA") {
		return invalid("ServiceSid", "is not VA and 32 hex digits")
	}
	if r.place.takesJSON() && x.e.cfg.Rules.PasskeysDisabled {
		x.decided("passkeys-disabled")
		return serverError()
	}
	if x.account.services != nil && !x.account.services[r.service] {
		return x.notFound(0)
	}
	if r.place == placeAccessToken && !isSID(r.sid, "YK") {
		return invalid("Sid", "is not YK and 32 hex digits")
	}
	if !r.place.hasIdentity() {
		return nil
	}
	if !isIdentity(r.identity) {
		return invalid("Identity", "is not 8 to 64 dash-separated alphanumerics")
	}
	switch r.place {
	case placeFactor:
		if !isSID(r.sid, "YF") {
			return invalid("FactorSid", "is not YF and 32 hex digits")
		}
	case placeChallenge, placeNotifications:
		if !isSID(r.sid, "YC") {
			return invalid("ChallengeSid", "is not YC and 32 hex digits")
		}
	}
	return nil
}

// limitPause and reachedLimit are what the description has for Verifications.
const (
	limitPause   = time.Second
	reachedLimit = "Twilio-Reached-Rate-Limit"
)

// entity finds the entity that the path names.
func (x *exchange) entity() (*entity, *apiError) {
	if ent := x.e.store.find(x.key(x.account.sid)); ent != nil {
		return ent, nil
	}
	if x.e.cfg.Rules.CaseSensitiveIdentity && x.e.store.hasOtherCase(x.key(x.account.sid)) {
		x.decided("case-sensitive-identity")
	}
	return nil, x.notFound(codeEntityMissing)
}

func (x *exchange) throttled(f *Faults) *apiError {
	status, code := 429, codeTooMany
	if x.e.cfg.Rules.Throttle25109 {
		code = codeRateLimited
		x.decided("throttle-25109")
	}
	if x.e.cfg.Rules.ThrottleAs400 {
		status = 400
		x.decided("throttle-as-400")
	}
	return &apiError{status: status, code: code, message: "Too many requests", retryAfter: f.RetryAfter}
}

// gatewayPage is the body of an answer that does not come from the API itself.
const gatewayPage = "<html><head><title>upstream error</title></head><body>upstream error</body></html>\n"

// unavailable is a 5xx: the API's own for 500 and 503, a gateway's for others.
func unavailable(status int) answer {
	switch status {
	case 500:
		return serverError().answer()
	case 503:
		return (&apiError{status: 503, code: codeUnavailable, message: "Service is unavailable"}).answer()
	}
	return answer{status: status, body: gatewayPage}
}

func (e *Emulator) hook(f func(Operation, *http.Request), op Operation, r *http.Request) {
	if f != nil {
		f(op, r)
	}
}

// sleep waits for d, or less where the emulator is closing. It deliberately
// does not end with the request: see Latency.
func (e *Emulator) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-e.closing:
	}
}

func lineOf(ctx context.Context) *line {
	l, _ := ctx.Value(lineKey{}).(*line)
	return l
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', 3, 64)
}
