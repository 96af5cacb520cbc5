package read

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// What scanChallenge takes, it must read as encoding/json does.
func checkScan(t *testing.T, data []byte) bool {
	t.Helper()
	got, plain := scanChallenge(data)
	if !plain {
		return false
	}
	var want Challenge
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatalf("encoding/json refuses %q: %v", data, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q\nis       %+v\nbut here %+v", data, want, got)
	}
	return true
}

func TestScanReadsWhatIsOrdinary(t *testing.T) {
	for _, name := range []string{"approved_push.json", "pending_push.json", "totp.json", "nulls.json"} {
		if !checkScan(t, testdata(t, name)) && !strings.Contains(string(testdata(t, name)), `\`) {
			t.Errorf("%s is left to encoding/json", name)
		}
	}
	if c, plain := scanChallenge([]byte(` {"sid":"YC","details":{"fields":[]},"links":{}} `)); !plain || c.SID != "YC" {
		t.Errorf("got %+v, %v", c, plain)
	}
}

func TestScanLeavesTheRest(t *testing.T) {
	for _, text := range []string{
		``, `{`, `null`, `[]`, `{"sid":"YC"`, `{"sid":"YC"} x`, `{"sid":"YC",}`, `{"sid":1}`, `{"SID":"YC"}`, `{"sid":"a","sid":"b"}`,
		`{"sid":"a\u0062"}`, "{\"sid\":\"a\xff\"}", "{\"sid\":\"a\nb\"}", `{"new":"x"}`, `{"hidden_details":{"n":1}}`, `{"hidden_details":"{}"}`,
		`{"date_created":"yesterday"}`, `{"details":{"message":"a","message":"b"}}`, `{"details":{"other":1}}`, `{"details":{"fields":[{"label":"a","label":"b"}]}}`,
		`{"links":{"a":null}}`, `{"sid" "a"}`, `{"details":[]}`, `{"details":{"fields":[{}`,
	} {
		if c, plain := scanChallenge([]byte(text)); plain {
			t.Errorf("%q: taken as %+v", text, c)
		}
	}
}

func FuzzScanAgreesWithEncodingJSON(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no samples: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"sid":"é","hidden_details":{"a":"b","a":"c"},"links":{"x":"y"},"details":{"date":null,"fields":[{"label":"","value":null}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) { checkScan(t, data) })
}

func BenchmarkParseChallenge(b *testing.B) {
	data := []byte(strings.TrimSpace(string(readSample(b))))
	for b.Loop() {
		if _, err := parseChallenge(data, Want{}); err != nil {
			b.Fatal(err)
		}
	}
}

func readSample(b *testing.B) []byte {
	b.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "pending_push.json"))
	if err != nil {
		b.Fatal(err)
	}
	return data
}
