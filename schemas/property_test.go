package schemas_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/schemas"
)

func sidGen(prefix string) *rapid.Generator[string] {
	return rapid.Map(rapid.StringMatching(`[0-9a-fA-F]{32}`), func(s string) string { return prefix + s })
}

var (
	idGen       = rapid.StringMatching(`[!-~]([ -~]{0,126}[!-~])?`)
	identityGen = rapid.StringMatching(`[A-Za-z0-9]{4}(-[A-Za-z0-9]{3,6}){1,8}`)
	accountGen  = rapid.StringMatching(`[A-Za-z0-9_.-]{0,64}`)
	textsGen    = rapid.MapOfN(rapid.StringN(0, 12, -1).Filter(func(s string) bool { return s != schemas.MarkerKey }), rapid.StringN(0, 20, -1), 0, 5)
	timeGen     = rapid.Map(rapid.Int64Range(-62167219200, 253402300799), func(s int64) time.Time { return time.Unix(s, s&0x3fffffff%1e9).UTC() })
)

// either draws a value or nothing.
func either[T any](t *rapid.T, name string, gen *rapid.Generator[T]) (v T) {
	if rapid.Bool().Draw(t, "has "+name) {
		v = gen.Draw(t, name)
	}
	return v
}

// requestGen makes valid requests.
var requestGen = rapid.Custom(func(t *rapid.T) *schemas.Request {
	r := &schemas.Request{
		Version:    rapid.StringMatching(`1\.[0-9]{1,3}`).Draw(t, "version"),
		ID:         idGen.Draw(t, "id"),
		Operation:  rapid.SampledFrom([]schemas.Operation{"create", "fetch", "list", "update"}).Draw(t, "operation"),
		Account:    accountGen.Draw(t, "account"),
		ServiceSID: sidGen("VA").Draw(t, "service_sid"),
		Identity:   identityGen.Draw(t, "identity"),
		NotAfter:   either(t, "not_after", rapid.Ptr(timeGen, false)),
	}
	switch r.Operation {
	case schemas.OperationCreate:
		r.Create = createGen.Draw(t, "create")
	case schemas.OperationList:
		r.List = either(t, "list", listGen)
	case schemas.OperationUpdate:
		r.Update = updateGen.Draw(t, "update")
	}
	if r.Operation == schemas.OperationFetch || r.Operation == schemas.OperationUpdate {
		r.ChallengeSID = sidGen("YC").Draw(t, "challenge_sid")
	}
	return r
})

var createGen = rapid.Custom(func(t *rapid.T) *schemas.Create {
	return &schemas.Create{
		FactorSID:      sidGen("YF").Draw(t, "factor_sid"),
		ExpirationDate: either(t, "expiration_date", rapid.Ptr(timeGen, false)),
		HiddenDetails:  either(t, "hidden_details", textsGen),
		AuthPayload:    either(t, "auth_payload", rapid.StringN(3, 8, -1)),
		Details: either(t, "details", rapid.Custom(func(t *rapid.T) *schemas.Details {
			return &schemas.Details{
				Message: rapid.StringN(0, 256, -1).Draw(t, "message"),
				Fields: either(t, "fields", rapid.SliceOfN(rapid.Custom(func(t *rapid.T) schemas.Field {
					return schemas.Field{Label: rapid.StringN(1, 36, -1).Draw(t, "label"), Value: rapid.StringN(0, 128, -1).Draw(t, "value")}
				}), 0, 20)),
			}
		})),
	}
})

var updateGen = rapid.Custom(func(t *rapid.T) *schemas.Update {
	return &schemas.Update{
		AuthPayload: either(t, "auth_payload", rapid.StringN(3, 300, -1)),
		Metadata:    either(t, "metadata", textsGen),
	}
})

var listGen = rapid.Custom(func(t *rapid.T) *schemas.List {
	return &schemas.List{
		FactorSID: either(t, "factor_sid", sidGen("YF")),
		Status:    rapid.SampledFrom([]string{"", "pending", "expired", "approved", "denied"}).Draw(t, "status"),
		Order:     rapid.SampledFrom([]string{"", "asc", "desc"}).Draw(t, "order"),
		PageSize:  rapid.IntRange(0, 1000).Draw(t, "page_size"),
		Page:      either(t, "page", rapid.Ptr(rapid.IntRange(0, schemas.MaxCount), false)),
		PageToken: rapid.String().Draw(t, "page_token"),
		Limit:     rapid.IntRange(0, schemas.MaxCount).Draw(t, "limit"),
	}
})

func TestEncodedRequestsDecodeEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := requestGen.Draw(t, "request")
		data, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(data) {
			t.Fatalf("not JSON: %s", data)
		}
		back, warnings, err := schemas.DecodeRequest(data)
		if err != nil || len(warnings) > 0 {
			t.Fatalf("%v %v", err, warnings)
		}
		if !reflect.DeepEqual(back, r) {
			t.Fatalf("%s decodes as %+v", data, back)
		}
		if again, err := back.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("encoded again: %v\n%s\n%s", err, data, again)
		}
	})
}

// anything is a JSON value of any type, often one that almost fits.
var anything = rapid.OneOf(
	rapid.SampledFrom(slices.Concat(otherTypes, otherNumbers)),
	rapid.Map(rapid.SampledFrom(otherTexts(identity)), func(s string) any { return s }),
	rapid.Map(rapid.String(), func(s string) any { return s }),
	rapid.Map(rapid.Int64(), func(v int64) any { return v }),
	rapid.Map(rapid.Float64(), func(v float64) any { return v }),
)

var newNames = rapid.SampledFrom([]string{"future", "Id", "factorSid", "countersign", "create", "list", "update", "challenge_sid", "error", "page", "challenges", "original", ""})

// mangle changes up to four places of a document.
func mangle(t *rapid.T, data []byte) []byte {
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	for range rapid.IntRange(0, 4).Draw(t, "mutations") {
		all := places(doc, "$")
		if len(all) == 0 {
			break
		}
		p := all[rapid.IntRange(0, len(all)-1).Draw(t, "place")]
		switch rapid.IntRange(0, 4).Draw(t, "how") {
		case 0:
			p.replace(absent{})
		case 1:
			p.replace(anything.Draw(t, "value"))
		case 2:
			other, err := json.Marshal(all[rapid.IntRange(0, len(all)-1).Draw(t, "other place")].value)
			if err != nil {
				t.Fatal(err)
			}
			p.replace(raw(other)) // as text: a value may not hold itself
		case 3:
			if p.rename != nil {
				p.rename(newNames.Draw(t, "name"))
			}
		default:
			if inner, ok := p.value.(map[string]any); ok {
				inner[newNames.Draw(t, "name")] = anything.Draw(t, "value")
			}
		}
		doc = reread(t, doc)
	}
	mutated, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return mutated
}

// reread parses a document from its text, so that places finds all of it.
func reread(t *rapid.T, doc map[string]any) (again map[string]any) {
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&again); err != nil {
		t.Fatal(err)
	}
	return again
}

func TestDecoderAndSchemasAgreeOnRandomRequests(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		data, err := requestGen.Draw(rt, "request").Encode()
		if err != nil {
			rt.Fatal(err)
		}
		agreeRapid(rt, t, "request", mangle(rt, data))
	})
}

func TestDecoderAndSchemasAgreeOnRandomResults(t *testing.T) {
	files := goldenFiles(t, "result")
	names := slices.Sorted(maps.Keys(files))
	rapid.Check(t, func(rt *rapid.T) {
		agreeRapid(rt, t, "result", mangle(rt, files[rapid.SampledFrom(names).Draw(rt, "event")]))
	})
}

func agreeRapid(rt *rapid.T, t *testing.T, kind string, data []byte) {
	byDecoder, bySchema := decode(t, kind, data), validate(t, kind, data)
	if (byDecoder == nil) != (bySchema == nil) {
		rt.Fatalf("%s %s\ndecoder: %v\nschema: %v", kind, data, byDecoder, bySchema)
	}
}

// A map's size and a text's depend on nothing but the text.
func TestStringifyIsWhatJSONSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := textsGen.Draw(t, "texts")
		s := schemas.Stringify(m)
		var back map[string]string
		if err := json.Unmarshal([]byte(s), &back); err != nil || !maps.Equal(m, back) {
			t.Fatalf("%s: %v, %v", s, err, back)
		}
		if strings.Contains(s, `\u003c`) || strings.Contains(s, `\u0026`) {
			t.Fatalf("HTML escapes in %s", s)
		}
	})
}
