package demo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// facts are what a request can be written from only once the world is up. None
// of them changes the kind or the form of a request.
type facts struct {
	service  string
	identity string
	push     string // SID of the person's push factor
	totp     string // and of the TOTP factor
	code     string // right at the moment
	sid      string // of the challenge that it is about; empty: none or not known
	now      time.Time
}

// writer writes the event of one step. Its randomness is the step's own, so an
// event does not depend on when or after what it is written.
type writer struct {
	facts
	id   string
	form int // the step's variant
	rng  *rand.Rand
}

// write returns a step's event. It is a pure function.
func write(seed uint64, s step, f facts) ([]byte, error) {
	rng := rand.New(rand.NewPCG(seed, uint64(s.index)+1)) //nolint:gosec // reproducible on purpose
	w := &writer{facts: f, id: requestID(seed, s.index), form: s.variant, rng: rng}
	return w.event(s.kind)
}

func (w *writer) event(k kind) ([]byte, error) {
	switch k {
	case kindInvalid:
		return w.invalid()
	case kindNotJSON:
		return w.notJSON(), nil
	case kindNoID:
		return w.noID(), nil
	case kindVersion:
		return w.altered(w.push(), func(m object) { m["version"] = []string{"2.0", "0.9", "10.1"}[w.form%3] })
	case kindUnknownField:
		return w.altered(w.list(), func(m object) { m["not_afterwards"] = "2030-01-01T00:00:00Z" })
	}
	return w.request(k).Encode()
}

// request is the event of every kind that keeps to the contract.
func (w *writer) request(k kind) *schemas.Request {
	switch k {
	case kindCodeRight:
		return w.create(w.totp, w.code)
	case kindCodeWrong:
		return w.create(w.totp, wrongCode(w.code))
	case kindOpen:
		return w.create(w.totp, "")
	case kindFetch:
		return w.about(schemas.OperationFetch, w.sid)
	case kindNoChallenge:
		return w.about(schemas.OperationFetch, w.unknownSID("YC"))
	case kindAnswer, kindAnswered:
		return w.update(&schemas.Update{AuthPayload: w.code})
	case kindAnswerWrong:
		return w.update(&schemas.Update{AuthPayload: wrongCode(w.code)})
	case kindMetadata:
		return w.update(&schemas.Update{Metadata: map[string]string{"reviewed_by": "demo", "ticket": w.digits(6)}})
	case kindList:
		return w.list()
	case kindNoFactor:
		return w.create(w.unknownSID("YF"), "")
	case kindNobody:
		r := w.list()
		r.Identity, r.List = "nobody-"+w.digits(8), nil
		return r
	case kindNoMessage:
		r := w.push()
		r.Create.Details = nil
		return r
	case kindLate:
		r := w.push()
		past := w.now.Add(-time.Duration(1+w.form) * time.Minute)
		r.NotAfter = &past
		return r
	default:
		return w.push()
	}
}

func (w *writer) about(op schemas.Operation, sid string) *schemas.Request {
	return &schemas.Request{ID: w.id, Operation: op, ServiceSID: w.service, Identity: w.identity, ChallengeSID: sid}
}

func (w *writer) update(u *schemas.Update) *schemas.Request {
	r := w.about(schemas.OperationUpdate, w.sid)
	r.Update = u
	return r
}

// push is a create as a bank or a shop would send it. Every third names when it
// expires.
func (w *writer) push() *schemas.Request {
	r := w.create(w.facts.push, "")
	if w.form%3 == 2 {
		at := w.now.Add(time.Duration(10+w.rng.IntN(45)) * time.Minute).Truncate(time.Second)
		r.Create.ExpirationDate = &at
	}
	return r
}

func (w *writer) create(factor, code string) *schemas.Request {
	r := w.about(schemas.OperationCreate, "")
	amount := fmt.Sprintf("%d.%02d EUR", 5+w.rng.IntN(900), w.rng.IntN(100))
	city := []string{"Lisbon", "Oslo", "Kraków", "São Paulo", "大阪"}[w.rng.IntN(5)]
	r.Create = &schemas.Create{
		FactorSID: factor, AuthPayload: code,
		Details: &schemas.Details{
			Message: "Approve the payment of " + amount + "?",
			Fields:  []schemas.Field{{Label: "Amount", Value: amount}, {Label: "Place", Value: city}},
		},
		HiddenDetails: map[string]string{hiddenID: w.id, "ip": fmt.Sprintf("192.0.2.%d", w.rng.IntN(256))},
	}
	return r
}

// hiddenID is the hidden detail that carries the request's id to the API and
// on to the device.
const hiddenID = "request_id"

// list asks in one of six forms. Those with a page size read several pages
// once there are enough challenges.
func (w *writer) list() *schemas.Request {
	r := w.about(schemas.OperationList, "")
	first := 0
	r.List = []*schemas.List{
		nil,
		{Order: "desc", PageSize: 2, Limit: 5},
		{Status: "pending"},
		{FactorSID: w.facts.push, Order: "desc", Limit: 1},
		{PageSize: 3, Page: &first},
		{FactorSID: w.totp, Status: "approved", PageSize: 1000},
	}[w.form%6]
	return r
}

// wrongCode is another code of the same length.
func wrongCode(code string) string {
	return strings.Map(func(r rune) rune { return '0' + (r-'0'+1)%10 }, code)
}

func (w *writer) unknownSID(prefix string) string {
	return fmt.Sprintf("%s%016x%016x", prefix, w.rng.Uint64(), w.rng.Uint64())
}

func (w *writer) digits(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '0' + byte(w.rng.IntN(10))
	}
	return string(b)
}

// object is an event on its way to being wrong.
type object = map[string]any

// altered is a good event with one thing changed.
func (w *writer) altered(r *schemas.Request, change func(object)) ([]byte, error) {
	data, err := r.Encode()
	if err != nil {
		return nil, err
	}
	var m object
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, err
	}
	change(m)
	return json.Marshal(m)
}

func (w *writer) notJSON() []byte {
	return [][]byte{
		[]byte("challenge please"),
		[]byte(`{"version":"1.0","id":"` + w.id),
		{},
		{0xff, 0xfe, 0x00, 0x01},
		[]byte("<request/>"),
		nil, // a tombstone
	}[w.form%6]
}

func (w *writer) noID() []byte {
	return [][]byte{
		[]byte(`{"version":"1.0","operation":"list"}`),
		[]byte(`{"version":"1.0","id":17,"operation":"fetch"}`),
		[]byte(`["` + w.id + `"]`),
		[]byte(`{"version":"1.0","id":"","operation":"create"}`),
	}[w.form%4]
}
