package connector

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/schemas"
)

func TestSeenIDJudge(t *testing.T) {
	const topic, partition, offset = "challenge.requests", 3, 10
	for name, tc := range map[string]struct {
		change func(*seenID)
		want   verdict
	}{
		"the record itself":            {func(*seenID) {}, verdictAnswered},
		"the record itself, failed":    {func(s *seenID) { s.outcome = schemas.OutcomeFailed }, verdictAnswered},
		"the record, another body":     {func(s *seenID) { s.body = testHash(2) }, verdictAnswered},
		"another record":               {func(s *seenID) { s.record = recordHash{2} }, verdictDuplicate},
		"another record, failed":       {func(s *seenID) { s.record = recordHash{2}; s.outcome = schemas.OutcomeFailed }, verdictAgain},
		"another offset":               {func(s *seenID) { s.offset-- }, verdictDuplicate},
		"another partition":            {func(s *seenID) { s.partition-- }, verdictDuplicate},
		"another topic":                {func(s *seenID) { s.topic = "old" }, verdictDuplicate},
		"adopted":                      {func(s *seenID) { s.offset--; s.outcome = schemas.OutcomeAdopted }, verdictDuplicate},
		"another body":                 {func(s *seenID) { s.offset--; s.body = testHash(2) }, verdictConflict},
		"another body of a failed one": {func(s *seenID) { s.offset--; s.body = testHash(2); s.outcome = schemas.OutcomeFailed }, verdictConflict},
		"failed":                       {func(s *seenID) { s.offset--; s.outcome = schemas.OutcomeFailed }, verdictAgain},
		"rejected":                     {func(s *seenID) { s.offset--; s.outcome = schemas.OutcomeRejected }, verdictAgain},
		"expired":                      {func(s *seenID) { s.offset--; s.outcome = schemas.OutcomeExpired }, verdictAgain},
	} {
		s := succeeded(offset, ledgerStart)
		tc.change(&s)
		if got := s.judge(testHash(1), recordHash{3, 1, 4}, topic, partition, offset); got != tc.want {
			t.Errorf("%s: verdict %d, want %d", name, got, tc.want)
		}
	}
}

// What is written to the topic is read back as it was.
func TestLedgerRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sids := []string{"", "YC0123456789abcdef0123456789abcdef", "YC0123456789ABCDEF0123456789abcdef"}
		s := succeeded(rapid.Int64Range(0, 1<<60).Draw(t, "offset"), ledgerStart.Add(12345))
		s.outcome = rapid.SampledFrom(storedOutcomes[1:]).Draw(t, "outcome")
		s.sid = rapid.SampledFrom(sids).Draw(t, "sid")
		copy(s.body[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "body"))
		var id hash
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		value, err := s.entry(id).Encode()
		if err != nil {
			t.Fatal(err)
		}
		e, err := readLedgerRecord([]byte(s.entry(id).IDHash), value)
		if err != nil {
			t.Fatal(err)
		}
		gotID, got, ok := seenOf(*e)
		if !ok || gotID != id || !got.same(s) {
			t.Fatalf("read back it is %+v, was %+v", got, s)
		}
		l := newLedger(1, newLedgerRoom(1))
		l.add(gotID, got)
		if kept, ok := l.lookup(id, s.at); !ok || !kept.same(s) {
			t.Fatalf("remembered it is %+v, was %+v", kept, s)
		}
	})
}

// Whatever the API calls a challenge, what the lane notes of it can be written.
func TestLedgerEntryOfAnOddSID(t *testing.T) {
	for sid, want := range map[string]string{
		"YC0123456789abcdef0123456789abcdeF": "YC0123456789abcdef0123456789abcdeF",
		"YC0123456789abcdef0123456789abcde":  "",
		"VE0123456789abcdef0123456789abcdef": "",
		"\xff\n":                             "",
	} {
		s := succeeded(1, ledgerStart)
		s.sid = sid
		e := s.entry(testHash(1))
		if _, err := e.Encode(); err != nil || e.ChallengeSID != want {
			t.Errorf("%q is noted as %q (%v), want %q", sid, e.ChallengeSID, err, want)
		}
	}
}

func TestReadLedgerRecord(t *testing.T) {
	entry := succeeded(1, ledgerStart).entry(testHash(1))
	value, err := entry.Encode()
	if err != nil {
		t.Fatal(err)
	}
	text := string(value)
	for name, tc := range map[string]struct {
		key   string
		value []byte
		fate  string // read, tombstone, odd or stop
	}{
		"an entry":          {entry.IDHash, value, "read"},
		"a later minor":     {entry.IDHash, []byte(strings.Replace(text, `"1.0"`, `"1.9","new":1`, 1)), "read"},
		"a tombstone":       {entry.IDHash, nil, "tombstone"},
		"an empty value":    {entry.IDHash, []byte{}, "odd"},
		"no JSON":           {entry.IDHash, []byte("\x00\x01"), "odd"},
		"a broken contract": {entry.IDHash, []byte(strings.Replace(text, "succeeded", "doubtful", 1)), "odd"},
		"another key":       {"key", value, "odd"},
		"no version":        {entry.IDHash, []byte(`{}`), "odd"},
		"a later major":     {entry.IDHash, []byte(strings.Replace(text, `"1.0"`, `"2.0"`, 1)), "stop"},
	} {
		e, err := readLedgerRecord([]byte(tc.key), tc.value)
		got := "read"
		switch {
		case errors.Is(err, errOddEntry):
			got = "odd"
		case err != nil:
			got = "stop"
		case e == nil:
			got = "tombstone"
		}
		if got != tc.fate || err != nil && e != nil {
			t.Errorf("%s: %s (%v), want %s", name, got, err, tc.fate)
		}
	}
}
