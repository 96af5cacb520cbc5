package schemas_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/schemas"
)

const hash = "0f5a1c0d3e5f7a9b1c3d5e7f90a2b4c6"

func ledgerEntry(change func(e *schemas.LedgerEntry)) *schemas.LedgerEntry {
	e := &schemas.LedgerEntry{
		Version: "1.0", IDHash: hash, Body: strings.Repeat("1f", 16), Record: strings.Repeat("2e", 8), Outcome: schemas.OutcomeSucceeded, ChallengeSID: challengeSID,
		Topic: "challenge.requests", Partition: 3, Offset: 41, At: record.Add(126 * time.Millisecond),
	}
	if change != nil {
		change(e)
	}
	return e
}

// goldenLedger are the entries of testdata/ledger, by file name.
var goldenLedger = map[string]*schemas.LedgerEntry{
	"succeeded": ledgerEntry(nil),
	"adopted":   ledgerEntry(func(e *schemas.LedgerEntry) { e.Outcome = schemas.OutcomeAdopted }),
	"failed":    ledgerEntry(func(e *schemas.LedgerEntry) { e.Outcome, e.ChallengeSID = schemas.OutcomeFailed, "" }),
	"doubt": ledgerEntry(func(e *schemas.LedgerEntry) {
		since := e.At.Add(-time.Minute)
		e.Outcome, e.ChallengeSID, e.CalledSince = schemas.OutcomeFailed, "", &since
	}),
	"ring": ledgerEntry(func(e *schemas.LedgerEntry) {
		e.Identity, e.Factor, e.PendingUntil = strings.Repeat("3d", 16), strings.Repeat("4c", 16), after(5*time.Minute)
		e.RangAt = after(-time.Minute)
	}),
	"bounds": ledgerEntry(func(e *schemas.LedgerEntry) {
		e.Outcome, e.Partition, e.Offset = schemas.OutcomeDuplicate, math.MaxInt32, math.MaxInt64
	}),
}

// goldenPositions are the positions of testdata/position, by file name.
var goldenPositions = map[string]*schemas.Position{
	"held": {
		Version: "1.0", Group: "countersign", Topic: "challenge.requests", Partition: 3, Offset: 42, Metadata: "countersign.2/AAECAw",
		Partitions: 8, Last: &schemas.LastRecord{Offset: 41, Hash: hash[:16]}, At: record.Add(126 * time.Millisecond),
	},
	"fresh": {Version: "1.0", Group: "g", Topic: "t", Partitions: 1, At: record},
}

// goldenRedrives are the headers of testdata/redrive, by file name.
var goldenRedrives = map[string]schemas.Redrive{
	"looked-up": {Redrives: 2, NotAfter: after(5 * time.Minute), LookSince: after(120 * time.Millisecond)},
	"sent":      {Redrives: 1, NotAfter: after(5 * time.Minute)},
	"none":      {},
}

func TestGoldenMemory(t *testing.T) {
	for name, e := range goldenLedger {
		data, err := e.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		golden(t, "ledger", name, data)
		if back, err := schemas.DecodeLedgerEntry(data); err != nil || !reflect.DeepEqual(back, e) {
			t.Errorf("%s: decoded\n%+v, want\n%+v, %v", name, back, e, err)
		}
	}
	for name, p := range goldenPositions {
		data, err := p.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		golden(t, "position", name, data)
		if back, err := schemas.DecodePosition(data); err != nil || !reflect.DeepEqual(back, p) {
			t.Errorf("%s: decoded\n%+v, want\n%+v, %v", name, back, p, err)
		}
	}
	for name, r := range goldenRedrives {
		data := encodeHeaders(r.Headers())
		golden(t, "redrive", name, data)
		if back, faults := schemas.DecodeRedrive(headersOf(t, data)); len(faults) > 0 || !reflect.DeepEqual(back, r) {
			t.Errorf("%s: decoded\n%+v, want\n%+v, %v", name, back, r, faults)
		}
	}
}

func TestPositionKey(t *testing.T) {
	if key := goldenPositions["held"].Key(); key != "countersign/challenge.requests/3" {
		t.Error(key)
	}
}

// A record that nobody could read back is not written.
func TestMemoryIsNotWrittenWithFaults(t *testing.T) {
	for name, e := range map[string]*schemas.LedgerEntry{
		"hash":     ledgerEntry(func(e *schemas.LedgerEntry) { e.IDHash = strings.ToUpper(hash) }),
		"body":     ledgerEntry(func(e *schemas.LedgerEntry) { e.Body = "" }),
		"record":   ledgerEntry(func(e *schemas.LedgerEntry) { e.Record = e.Body }),
		"outcome":  ledgerEntry(func(e *schemas.LedgerEntry) { e.Outcome = "done" }),
		"offset":   ledgerEntry(func(e *schemas.LedgerEntry) { e.Offset = -1 }),
		"version":  ledgerEntry(func(e *schemas.LedgerEntry) { e.Version = "2.0" }),
		"identity": ledgerEntry(func(e *schemas.LedgerEntry) { e.Identity = hash[1:] }),
		"factor":   ledgerEntry(func(e *schemas.LedgerEntry) { e.Factor = strings.ToUpper(hash) }),
	} {
		data, err := e.Encode()
		var refused *schemas.EncodeError
		if !errors.As(err, &refused) || data != nil || len(refused.Faults) != 1 || !strings.HasPrefix(refused.Faults[0].Path, "$."+name) && name != "hash" {
			t.Errorf("%s: %s %v", name, data, err)
		}
	}
	for name, p := range map[string]schemas.Position{
		"group":      {Topic: "t", Partitions: 1},
		"partitions": {Group: "g", Topic: "t"},
		"last.hash":  {Group: "g", Topic: "t", Partitions: 1, Last: &schemas.LastRecord{Hash: hash}},
		"offset":     {Group: "g", Topic: "t", Partitions: 1, Offset: -1},
		"metadata":   {Group: "g", Topic: "t", Partitions: 1, Metadata: "\xff"},
	} {
		_, err := p.Encode()
		var refused *schemas.EncodeError
		if !errors.As(err, &refused) || len(refused.Faults) != 1 || refused.Faults[0].Path != "$."+name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMemoryOfOtherVersions(t *testing.T) {
	entry, err := goldenLedger["succeeded"].Encode()
	if err != nil {
		t.Fatal(err)
	}
	later := strings.Replace(string(entry), `"1.0"`, `"1.9","shape":{"of":"things to come"}`, 1)
	if e, err := schemas.DecodeLedgerEntry([]byte(later)); err != nil || e.Version != "1.9" || e.Offset != 41 {
		t.Errorf("%+v, %v", e, err)
	}
	for data, code := range map[string]schemas.ErrorCode{
		strings.Replace(string(entry), `"1.0"`, `"2.0"`, 1): schemas.CodeVersion,
		`[]`: schemas.CodeInvalid,
		`{}`: schemas.CodeInvalid,
		`{`:  schemas.CodeNotJSON,
		`"` + strings.Repeat("x", schemas.MaxEventBytes) + `"`: schemas.CodeTooLarge,
	} {
		_, err := schemas.DecodeLedgerEntry([]byte(data))
		_, other := schemas.DecodePosition([]byte(data))
		var refused, alike *schemas.DecodeError
		if !errors.As(err, &refused) || refused.Code != code || !errors.As(other, &alike) || alike.Code != code {
			t.Errorf("%.40s: %v and %v, want %s", data, err, other, code)
		}
	}
}

func TestDecodeRedriveFaults(t *testing.T) {
	header := func(key, value string) schemas.Header { return schemas.Header{Key: key, Value: []byte(value)} }
	for name, c := range map[string]struct {
		list []schemas.Header
		want []string
	}{
		"every one": {
			[]schemas.Header{header(schemas.HeaderRedrives, "-1"), header(schemas.HeaderNotAfter, "soon"), header(schemas.HeaderLookSince, "")},
			[]string{
				`$["countersign-redrives"] must be a decimal number of at most 9 digits`,
				`$["countersign-not-after"] must be a date and time as in 2026-01-02T15:04:05Z (RFC 3339, capital T and Z or an offset)`,
				`$["countersign-look-since"] must be a date and time as in 2026-01-02T15:04:05Z (RFC 3339, capital T and Z or an offset)`,
			},
		},
		"no count": {
			[]schemas.Header{header(schemas.HeaderNotAfter, "2026-01-02T15:04:05Z")},
			[]string{`$["countersign-redrives"] is required`},
		},
		"not UTF-8": {
			[]schemas.Header{header(schemas.HeaderRedrives, "\xff")},
			[]string{`$["countersign-redrives"] holds text that is not valid UTF-8`},
		},
	} {
		r, faults := schemas.DecodeRedrive(c.list)
		expect(t, name, lines(faults), c.want)
		if r != (schemas.Redrive{}) {
			t.Errorf("%s: %+v beside the faults", name, r)
		}
	}
}

// A record that was redriven twice by careless hands says what was said last,
// and headers of others don't matter.
func TestDecodeRedriveTakesTheLast(t *testing.T) {
	list := append([]schemas.Header{{Key: "countersign-tenant", Value: []byte("x")}, {Key: schemas.HeaderTraceparent}},
		goldenRedrives["sent"].Headers()...)
	list = append(list, goldenRedrives["looked-up"].Headers()...)
	if r, faults := schemas.DecodeRedrive(list); len(faults) > 0 || !reflect.DeepEqual(r, goldenRedrives["looked-up"]) {
		t.Errorf("%+v %v", r, faults)
	}
	if r, faults := schemas.DecodeRedrive(list[:2]); len(faults) > 0 || r != (schemas.Redrive{}) {
		t.Errorf("%+v %v", r, faults)
	}
}

func TestRedrivesDecodeEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := schemas.Redrive{
			Redrives:  rapid.IntRange(0, 999_999_999).Draw(t, "redrives"),
			NotAfter:  either(t, "not_after", rapid.Ptr(timeGen, false)),
			LookSince: either(t, "look_since", rapid.Ptr(timeGen, false)),
		}
		back, faults := schemas.DecodeRedrive(r.Headers())
		if len(faults) > 0 || !reflect.DeepEqual(back, r) {
			t.Fatalf("%+v, %v", back, faults)
		}
	})
}

func TestPositionsDecodeEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &schemas.Position{
			Version: "1.0", Group: rapid.StringN(1, 40, -1).Draw(t, "group"), Topic: rapid.StringN(1, 40, -1).Draw(t, "topic"),
			Partition: rapid.IntRange(0, schemas.MaxCount).Draw(t, "partition"), Offset: rapid.Int64Range(0, math.MaxInt64).Draw(t, "offset"),
			Metadata: rapid.String().Draw(t, "metadata"), Partitions: rapid.IntRange(1, schemas.MaxCount).Draw(t, "partitions"),
			At: timeGen.Draw(t, "at"),
		}
		data, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := schemas.DecodePosition(data); err != nil || !reflect.DeepEqual(back, p) {
			t.Fatalf("%+v, %v", back, err)
		}
	})
}

func BenchmarkDecodeLedgerEntry(b *testing.B) {
	data, err := goldenLedger["succeeded"].Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := schemas.DecodeLedgerEntry(data); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzDecodeLedgerEntry(f *testing.F) {
	for _, data := range goldenFiles(f, "ledger") {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := schemas.DecodeLedgerEntry(data)
		checkOwn(t, "ledger", data, err)
		if err != nil {
			return
		}
		again, err := e.Encode()
		if err != nil {
			t.Fatalf("accepted, but not encoded: %v", err)
		}
		if back, err := schemas.DecodeLedgerEntry(again); err != nil || !reflect.DeepEqual(e, back) {
			t.Fatalf("%s\nencodes as %s: %v", data, again, err)
		}
	})
}

func FuzzDecodePosition(f *testing.F) {
	for _, data := range goldenFiles(f, "position") {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := schemas.DecodePosition(data)
		checkOwn(t, "position", data, err)
		if err != nil {
			return
		}
		again, err := p.Encode()
		if err != nil {
			t.Fatalf("accepted, but not encoded: %v", err)
		}
		if back, err := schemas.DecodePosition(again); err != nil || !reflect.DeepEqual(p, back) {
			t.Fatalf("%s\nencodes as %s: %v", data, again, err)
		}
	})
}

// checkOwn checks what holds for every refusal of Countersign's own records.
func checkOwn(t *testing.T, kind string, data []byte, err error) {
	t.Helper()
	checkError(t, err)
	checkAgainstSchema(t, kind, data, err)
	var refused *schemas.DecodeError
	if errors.As(err, &refused) && (refused.Code == schemas.CodeNoID || refused.ID != "") {
		t.Fatalf("%s: id %q", refused.Code, refused.ID)
	}
}

// Headers are fuzzed by their values, an empty one being left out.
func FuzzDecodeRedrive(f *testing.F) {
	f.Add("2", "2026-01-02T15:09:05Z", "2026-01-02T15:04:05.12Z")
	f.Add("", "2026-01-02T15:09:05Z", "")
	f.Add("01", "", "\xff")
	f.Fuzz(func(t *testing.T, redrives, notAfter, lookSince string) {
		var list []schemas.Header
		for _, h := range []schemas.Header{
			{Key: schemas.HeaderRedrives, Value: []byte(redrives)},
			{Key: schemas.HeaderNotAfter, Value: []byte(notAfter)},
			{Key: schemas.HeaderLookSince, Value: []byte(lookSince)},
		} {
			if len(h.Value) > 0 {
				list = append(list, h)
			}
		}
		r, faults := schemas.DecodeRedrive(list)
		if len(faults) > 0 {
			checkError(t, &schemas.DecodeError{Code: schemas.CodeInvalid, Faults: faults})
			return
		}
		back, faults := schemas.DecodeRedrive(r.Headers())
		if len(faults) > 0 || !reflect.DeepEqual(r, back) {
			t.Fatalf("%+v, then %+v, %v", r, back, faults)
		}
	})
}
