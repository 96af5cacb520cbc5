package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/countersign/countersign/schemas"
)

// requestFlags describe one request on the command line.
type requestFlags struct {
	id, operation, account, service, identity string
	factor, challenge, message                string
	fields, hidden, metadata                  []string
	payload, payloadFile                      string
	notAfter, expires                         string
	status, order, pageToken                  string
	pageSize, page, limit                     int
}

// flagOperations are the flags that not every operation takes.
var flagOperations = map[string][]schemas.Operation{
	"factor-sid":        {schemas.OperationCreate, schemas.OperationList},
	"challenge-sid":     {schemas.OperationFetch, schemas.OperationUpdate},
	"message":           {schemas.OperationCreate},
	"field":             {schemas.OperationCreate},
	"hidden":            {schemas.OperationCreate},
	"expires":           {schemas.OperationCreate},
	"auth-payload":      {schemas.OperationCreate, schemas.OperationUpdate},
	"auth-payload-file": {schemas.OperationCreate, schemas.OperationUpdate},
	"metadata":          {schemas.OperationUpdate},
	"status":            {schemas.OperationList},
	"order":             {schemas.OperationList},
	"page-size":         {schemas.OperationList},
	"page":              {schemas.OperationList},
	"page-token":        {schemas.OperationList},
	"limit":             {schemas.OperationList},
}

func (f *requestFlags) register(fl *pflag.FlagSet) {
	fl.StringVar(&f.operation, "operation", "", "create, fetch, list or update")
	fl.StringVar(&f.id, "id", "", "unique per intent (default: a random one)")
	fl.StringVar(&f.account, "account", "", "`name` of configured credentials (default: the only one)")
	fl.StringVar(&f.service, "service-sid", "", "VA and 32 hexadecimal digits")
	fl.StringVar(&f.identity, "identity", "", "whose factor it is; 8 to 64 letters, digits and dashes")
	fl.StringVar(&f.factor, "factor-sid", "", "YF and 32 hexadecimal digits (create, list)")
	fl.StringVar(&f.challenge, "challenge-sid", "", "YC and 32 hexadecimal digits (fetch, update)")
	fl.StringVar(&f.message, "message", "", "what the user is shown (create)")
	fl.StringArrayVar(&f.fields, "field", nil, "`label=value` that the user is shown; repeatable (create)")
	fl.StringArrayVar(&f.hidden, "hidden", nil, "`key=value` that the user is not shown; repeatable (create)")
	fl.StringVar(&f.expires, "expires", "", "expiration: a `duration` from now or an RFC 3339 time (create)")
	fl.StringVar(&f.payload, "auth-payload", "", "TOTP code or signed answer; other users can see it in the process list (create, update)")
	fl.StringVar(&f.payloadFile, "auth-payload-file", "", "`file` that holds it instead, - for stdin")
	fl.StringArrayVar(&f.metadata, "metadata", nil, "`key=value`; repeatable (update)")
	fl.StringVar(&f.notAfter, "not-after", "", "nothing is sent later: a `duration` from now or an RFC 3339 time")
	fl.StringVar(&f.status, "status", "", "pending, expired, approved or denied (list)")
	fl.StringVar(&f.order, "order", "", "asc or desc (list)")
	fl.IntVar(&f.pageSize, "page-size", 0, "1 to 1000 (list)")
	fl.IntVar(&f.page, "page", 0, "page to begin with (list)")
	fl.StringVar(&f.pageToken, "page-token", "", "its token (list)")
	fl.IntVar(&f.limit, "limit", 0, "challenges over all pages; 0 is all of them (list)")
}

// given reports whether the command line describes a request.
func (f requestFlags) given(cmd *cobra.Command) bool {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	(&requestFlags{}).register(own)
	found := false
	cmd.Flags().Visit(func(fl *pflag.Flag) { found = found || own.Lookup(fl.Name) != nil })
	return found
}

// faultFunc takes one fault of the flags, so that all are reported at once.
type faultFunc func(format string, args ...any)

// event builds the event. All faults of the flags are reported at once.
func (f requestFlags) event(cmd *cobra.Command, now time.Time) (event, error) {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	f.misplaced(cmd, fault)
	payload, err := f.authPayload(cmd.InOrStdin())
	if err != nil {
		return event{}, err
	}
	r := f.body(cmd, payload, now, fault)
	if len(faults) > 0 {
		return event{}, usagef("%s", strings.Join(faults, "\n"))
	}
	data, err := r.Encode()
	broken := r.Check(now)
	if refused, ok := errors.AsType[*schemas.EncodeError](err); ok {
		broken, err = append(refused.Faults, broken...), nil
	}
	for _, v := range broken {
		fault("%s", v)
	}
	if len(faults) > 0 {
		return event{}, usagef("the request that the flags describe is not valid:\n  %s", strings.Join(faults, "\n  "))
	}
	return event{where: "flags", data: data}, err
}

// misplaced reports the flags that contradict others.
func (f requestFlags) misplaced(cmd *cobra.Command, fault faultFunc) {
	cmd.Flags().Visit(func(fl *pflag.Flag) {
		ops := flagOperations[fl.Name]
		if ops != nil && f.operation != "" && !slices.Contains(ops, schemas.Operation(f.operation)) {
			fault("--%s is not for operation %s", fl.Name, f.operation)
		}
	})
	if f.payload != "" && f.payloadFile != "" {
		fault("--auth-payload and --auth-payload-file exclude each other")
	}
}

// body is the request as the flags describe it.
func (f requestFlags) body(cmd *cobra.Command, payload string, now time.Time, fault faultFunc) *schemas.Request {
	r := &schemas.Request{
		ID: f.id, Operation: schemas.Operation(f.operation), Account: f.account, ServiceSID: f.service, Identity: f.identity,
		ChallengeSID: f.challenge, NotAfter: moment("not-after", f.notAfter, now, fault),
	}
	if r.ID == "" {
		r.ID = newID()
	}
	switch r.Operation {
	case schemas.OperationCreate:
		r.Create = &schemas.Create{
			FactorSID: f.factor, AuthPayload: payload, Details: f.details(fault),
			HiddenDetails: pairs("hidden", f.hidden, fault), ExpirationDate: moment("expires", f.expires, now, fault),
		}
	case schemas.OperationUpdate:
		r.Update = &schemas.Update{AuthPayload: payload, Metadata: pairs("metadata", f.metadata, fault)}
	case schemas.OperationList:
		r.List = &schemas.List{
			FactorSID: f.factor, Status: f.status, Order: f.order, PageSize: f.pageSize, PageToken: f.pageToken, Limit: f.limit,
		}
		if cmd.Flags().Changed("page") {
			r.List.Page = &f.page
		}
	}
	return r
}

func (f requestFlags) details(fault faultFunc) *schemas.Details {
	if f.message == "" && len(f.fields) == 0 {
		return nil
	}
	d := &schemas.Details{Message: f.message}
	for _, text := range f.fields {
		label, value, ok := strings.Cut(text, "=")
		if !ok {
			fault("--field must be label=value")
		}
		d.Fields = append(d.Fields, schemas.Field{Label: label, Value: value})
	}
	return d
}

func (f requestFlags) authPayload(stdin io.Reader) (string, error) {
	if f.payloadFile == "" {
		return f.payload, nil
	}
	data, err := readInput(f.payloadFile, stdin)
	if err != nil {
		return "", fmt.Errorf("--auth-payload-file: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// pairs reads key=value texts; nil where there are none.
func pairs(flag string, texts []string, fault faultFunc) map[string]string {
	if len(texts) == 0 {
		return nil
	}
	m := map[string]string{}
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if _, twice := m[key]; !ok || key == "" || twice {
			fault("--%s must be key=value, each key once", flag)
		}
		m[key] = value
	}
	return m
}

// moment reads a duration from now or a time; nil for an empty text.
func moment(flag, text string, now time.Time, fault faultFunc) *time.Time {
	if text == "" {
		return nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		t := now.Add(d).UTC().Truncate(time.Millisecond)
		return &t
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		fault("--%s must be a duration from now, as in 2m, or an RFC 3339 time", flag)
	}
	t = t.UTC()
	return &t
}

// newID is a random (version 4) UUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
