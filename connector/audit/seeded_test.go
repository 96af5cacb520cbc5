package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/connector/challenge/read"
)

// word is what the API says of challenges: of some nothing, of some another thing.
type word struct {
	records map[string]json.RawMessage
	refused string // the SID for which it answers with an error
}

func (w word) Fetch(_ context.Context, _, _, sid string) (*read.Response, error) {
	if sid == w.refused {
		return nil, &read.APIError{Status: 400, Code: 20001}
	}
	raw, known := w.records[sid]
	if !known {
		return nil, &read.APIError{Status: 404, Code: 20404}
	}
	c, err := read.ParseChallenge(raw)
	return &read.Response{Challenge: c, Raw: raw, Status: 200}, err
}

// TestSeededReport: a window with faults of every kind is reported exactly, in all
// three forms, with what the API says.
func TestSeededReport(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		seeded(t, w)
		api := word{map[string]json.RawMessage{}, sidOf(6)}
		for n := 1; n <= w.sids; n++ {
			api.records[sidOf(n)] = challengeOf(n, "pending")
		}
		delete(api.records, sidOf(2)) // good's
		api.records[sidOf(8)] = json.RawMessage(strings.Replace(string(challengeOf(8, "pending")), factor, strings.Replace(factor, "01", "02", 1), 1))
		api.records[sidOf(9)] = challengeOf(9, "approved")
		gone := challengeOf(3, "pending")
		api.records[sidOf(3)] = json.RawMessage(strings.Replace(string(gone), `"pending"`, `"unheard of"`, 1))
		cfg := config()
		cfg.Compare = &CompareConfig{Accounts: map[string]Challenges{"": api}, Budget: 100}
		r := w.audit(cfg)
		kinds := map[Kind]bool{}
		for _, f := range r.Findings {
			kinds[f.Kind] = true
		}
		for _, k := range Kinds() {
			if !kinds[k] {
				t.Errorf("nothing is %s", k)
			}
		}
		data, err := r.Encode()
		must(t, err)
		var text, page bytes.Buffer
		must(t, r.Text(&text))
		must(t, r.HTML(&page))
		for name, got := range map[string][]byte{"seeded.json": data, "seeded.txt": text.Bytes(), "seeded.html": page.Bytes()} {
			path := filepath.Join("testdata", name)
			if *update {
				must(t, os.WriteFile(path, got, 0o644))
			}
			want, err := os.ReadFile(path)
			must(t, err)
			if !bytes.Equal(got, want) {
				t.Errorf("%s is not what is reported (go test -run Seeded -update writes it anew)", path)
			}
		}
		back, err := Decode(data)
		must(t, err)
		if found, err := Verify(t.Context(), w.client, back, Config{}); err != nil || len(found) > 0 {
			t.Errorf("%v, %v", found, err)
		}
	})
}
