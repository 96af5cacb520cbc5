package schemas_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

func TestCheckExpiration(t *testing.T) {
	for ahead, want := range map[time.Duration]string{
		time.Nanosecond:             "",
		5 * time.Minute:             "",
		time.Hour:                   "",
		time.Hour + time.Nanosecond: "must be at most 60 minutes ahead; it is 1h0m0s",
		100 * 24 * time.Hour:        "must be at most 60 minutes ahead; it is 2400h0m0s",
		0:                           "must be ahead; it is 0s past",
		-90 * time.Second:           "must be ahead; it is 1m30s past",
		-290 * 365 * 24 * time.Hour: "must be ahead; it is 2540400h0m0s past",
	} {
		r := request(schemas.OperationCreate, func(r *schemas.Request) { r.Create.ExpirationDate = after(ahead) })
		var wanted []string
		if want != "" {
			wanted = []string{"$.create.expiration_date " + want}
		}
		expect(t, ahead.String(), lines(r.Check(record)), wanted)
	}
}

// A deadline is no fault, whatever it is.
func TestCheckLeavesNotAfterAlone(t *testing.T) {
	for _, at := range []time.Duration{-time.Hour, 0, time.Minute, 1000 * time.Hour} {
		r := request(schemas.OperationCreate, func(r *schemas.Request) { r.NotAfter, r.Create.ExpirationDate = after(at), after(time.Minute) })
		expect(t, at.String(), lines(r.Check(record)), nil)
	}
}

func TestCheckSerialisedLengths(t *testing.T) {
	// {"k":"..."} takes eight characters beside the value's.
	hidden := func(value string) *schemas.Request {
		return request(schemas.OperationCreate, func(r *schemas.Request) { r.Create.HiddenDetails = map[string]string{"k": value} })
	}
	metadata := func(value string) *schemas.Request {
		return request(schemas.OperationUpdate, func(r *schemas.Request) { r.Update.Metadata = map[string]string{"k": value} })
	}
	const room = schemas.MaxSerialised - 8
	hiddenFault := []string{"$.create.hidden_details must have at most 960 characters as compact JSON; it has 961 (1024 less 64 kept free for Countersign's own marker)"}
	metadataFault := []string{"$.update.metadata must have at most 1024 characters as compact JSON; it has 1025"}
	for name, c := range map[string]struct {
		request *schemas.Request
		want    []string
	}{
		"hidden, at the bound":     {hidden(strings.Repeat("x", room-64)), nil},
		"hidden, beyond":           {hidden(strings.Repeat("x", room-63)), hiddenFault},
		"hidden, in code points":   {hidden(strings.Repeat("é", room-64)), nil},
		"hidden, nothing escaped":  {hidden(strings.Repeat("<", room-64)), nil},
		"hidden, quotes count two": {hidden(strings.Repeat(`"`, (room-64)/2) + "x"), hiddenFault},
		"hidden, none":             {request(schemas.OperationCreate, nil), nil},
		"metadata, at the bound":   {metadata(strings.Repeat("x", room)), nil},
		"metadata, beyond":         {metadata(strings.Repeat("x", room+1)), metadataFault},
		"nothing to check":         {request(schemas.OperationFetch, nil), nil},
	} {
		expect(t, name, lines(c.request.Check(record)), c.want)
	}
}

func TestCheckReportsEveryFault(t *testing.T) {
	r := request(schemas.OperationCreate, func(r *schemas.Request) {
		r.Create.ExpirationDate = after(-time.Second)
		r.Create.HiddenDetails = map[string]string{"k": strings.Repeat("x", 1024)}
	})
	if faults := r.Check(record); len(faults) != 2 {
		t.Errorf("%v", faults)
	}
}

// With its marker added, a request at the bound is just what the API takes.
func TestMarkerFitsItsReserve(t *testing.T) {
	texts := map[string]string{"k": strings.Repeat("x", schemas.MaxSerialised-schemas.MarkerReserve-len(`{"k":""}`))}
	texts[schemas.MarkerKey] = strings.Repeat("m", 47)
	if n := len(schemas.Stringify(texts)); n != schemas.MaxSerialised {
		t.Errorf("%d characters", n)
	}
	if got := schemas.Stringify(nil); got != "{}" {
		t.Errorf("nil: %s", got)
	}
}
