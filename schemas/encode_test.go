package schemas_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

func TestRequestEncodeRefusesWhatDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(r *schemas.Request)
		code   schemas.ErrorCode
		want   []string
	}{
		{"no id", func(r *schemas.Request) { r.ID = "" }, schemas.CodeNoID, nil},
		{"another major", func(r *schemas.Request) { r.Version = "2.0" }, schemas.CodeVersion, nil},
		{"no operation", func(r *schemas.Request) { r.Operation = "" }, schemas.CodeInvalid, []string{"$.operation must be one of create, fetch, list, update; it is empty"}},
		{"negative", func(r *schemas.Request) {
			r.Create, r.Operation, r.List = nil, "list", &schemas.List{PageSize: -1, Limit: -1}
		}, schemas.CodeInvalid, []string{
			"$.list.page_size must be a whole number from 1 to 1000", "$.list.limit must be a whole number from 1 to 2147483647",
		}},
		{"foreign", func(r *schemas.Request) { r.List = &schemas.List{} }, schemas.CodeInvalid, []string{"$.list must not be there: belongs to operation list, not create"}},
		{"not UTF-8", func(r *schemas.Request) { r.Create.Details = &schemas.Details{Message: "a\xff"} }, schemas.CodeInvalid, []string{"$.create.details.message holds text that is not valid UTF-8"}},
		{"too large", func(r *schemas.Request) {
			r.Create.HiddenDetails = map[string]string{"a": strings.Repeat("x", schemas.MaxEventBytes)}
		}, schemas.CodeTooLarge, nil},
	} {
		data, err := request(schemas.OperationCreate, c.change).Encode()
		var refused *schemas.EncodeError
		if !errors.As(err, &refused) || refused.Code != c.code || data != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if c.want != nil {
			expect(t, c.name, lines(refused.Faults), c.want)
		}
		if !strings.HasPrefix(err.Error(), "schemas: encode: "+string(c.code)+": $") {
			t.Errorf("%s: %s", c.name, err)
		}
	}
}

// Equal requests have equal bytes, whatever zone their times are in and in
// whatever order their maps were filled.
func TestEncodeIsDeterministic(t *testing.T) {
	zone := time.FixedZone("", 2*60*60)
	var first []byte
	for i := range 50 {
		r := request(schemas.OperationCreate, func(r *schemas.Request) {
			r.Version = ""
			at := record
			if i%2 == 1 {
				at = at.In(zone)
			}
			r.NotAfter = &at
			r.Create.HiddenDetails = map[string]string{}
			for k := range 20 {
				r.Create.HiddenDetails[fmt.Sprint("key", (k+i)%20)] = "v"
			}
		})
		data, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		}
		if !bytes.Equal(first, data) {
			t.Fatalf("\n%s\n%s", first, data)
		}
	}
}

// No payload or identity shows, however a request is printed.
func TestPrintingHidesPayloads(t *testing.T) {
	const secret = "73519264"
	create := request(schemas.OperationCreate, func(r *schemas.Request) {
		r.Create.AuthPayload = secret
		r.Create.HiddenDetails = map[string]string{"k": secret}
	})
	update := request(schemas.OperationUpdate, func(r *schemas.Request) {
		r.Update.AuthPayload = secret
		r.Update.Metadata = map[string]string{"k": secret}
	})
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{create, *create, create.Create, *create.Create, update, *update, update.Update, *update.Update} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	if strings.Contains(out.String(), secret) || strings.Contains(out.String(), fmt.Sprintf("%x", secret)) {
		t.Errorf("fmt shows the payload:\n%s", out.String())
	}
	out.Reset()
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		log := slog.New(h)
		log.Info("m", "a", create, "b", *create, "c", create.Create, "d", *create.Create, "e", update.Update, "f", *update.Update)
		log.Info("m", "r", goldenResults["create-succeeded"], "s", *goldenResults["create-succeeded"])
	}
	if s := out.String(); strings.Contains(s, secret) || strings.Contains(s, identity) || !strings.Contains(s, "signin-4711") {
		t.Errorf("slog shows too much or too little:\n%s", s)
	}
	data, err := json.Marshal([]any{create, update})
	if err != nil || bytes.Contains(data, []byte(`"AuthPayload"`)) {
		t.Errorf("encoding/json: %s, %v", data, err)
	}
}
