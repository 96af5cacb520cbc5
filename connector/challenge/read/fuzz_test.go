package read

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"testing"

	"github.com/countersign/countersign/connector/challenge/internal/wire"
)

// FuzzDecodeChallenge holds that whatever is taken is a challenge, keeps what
// came, and reads the same again, from Raw and from its own encoding.
func FuzzDecodeChallenge(f *testing.F) {
	files, err := os.ReadDir("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		if !file.IsDir() {
			f.Add(testdata(f, file.Name()))
		}
	}
	f.Add([]byte(`{"sid":"YC` + testSID[2:] + `","status":"x","hidden_details":"{}"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseChallenge(data)
		if err != nil {
			var call *CallError
			if !errors.As(err, &call) || call.Code != CodeBadAnswer {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		if !wire.SID("YC", c.SID) || c.Status == "" || !json.Valid(c.Raw) {
			t.Fatalf("taken: %+v", c)
		}
		again, err := ParseChallenge(c.Raw)
		if err != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("read again from Raw: %+v, %v, was %+v", again, err, c)
		}
		own, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if again, err = ParseChallenge(own); err != nil || again.SID != c.SID || !reflect.DeepEqual(again.HiddenDetails, c.HiddenDetails) {
			t.Fatalf("read again from its own encoding: %+v, %v, was %+v", again, err, c)
		}
	})
}

func FuzzDecodePage(f *testing.F) {
	f.Add(testdata(f, "page.json"))
	f.Add(testdata(f, "empty_page.json"))
	f.Add([]byte(`{"challenges":[],"meta":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePage(200, nil, data, Want{})
		if err != nil {
			return
		}
		for _, c := range p.Challenges {
			if !wire.SID("YC", c.SID) {
				t.Fatalf("taken: %+v", c)
			}
		}
	})
}
