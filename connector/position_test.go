package connector

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestMetadataFitsTheBrokersLimitAtFullSpan(t *testing.T) {
	p := position{frontier: 7}
	for i := range int64(maxSpan) {
		p.done.set(i)
	}
	const limit = 4096 // offset.metadata.max.bytes, broker default
	if n := len(p.metadata()); n > limit || n < maxSpan/8 {
		t.Errorf("metadata of a full window takes %d bytes, the limit is %d", n, limit)
	}
	back, err := parsePosition(7, p.metadata())
	if err != nil {
		t.Fatal(err)
	}
	if !back.has(7) || !back.has(7+maxSpan-1) || back.has(7+maxSpan) {
		t.Error("the bits at the ends of the span do not survive")
	}
}

func TestParsePosition(t *testing.T) {
	p := position{frontier: 10, calledTo: 30, seq: 5, left: &runs{}}
	p.done.set(3)
	p.left.add(11, 12)
	p.left.add(20, 25)
	good := p.metadata()
	for _, tc := range []struct {
		name, metadata string
		foreign        bool
	}{
		{"none", "", true},
		{"own", good, false},
		{"another tool's", "committed by somebody", true},
		{"another version", "countersign.9/" + strings.TrimPrefix(good, metadataVersion+"/"), true},
		{"not base64", metadataVersion + "/***", true},
		{"nothing in it", metadataVersion + "/", true},
		{"cut off", good[:len(good)-2], true},
		{"more behind it", good + "AAAA", true},
		{"wider than a window", metadataVersion + "/AACAIA" + strings.Repeat("A", maxSpan), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parsePosition(10, tc.metadata)
			if errors.Is(err, errForeignMetadata) != tc.foreign {
				t.Fatalf("error %v, want foreign: %v", err, tc.foreign)
			}
			if got.frontier != 10 || !got.has(9) || got.has(10) {
				t.Errorf("got %+v: whatever the metadata, the offset counts and 10 is not done", got)
			}
			if tc.foreign && (got.mayHaveCalled(10) || got.seq != 0) {
				t.Errorf("got %+v: nothing may be taken from foreign metadata", got)
			}
		})
	}
}

// TestPositionSurvives holds what is read from the metadata against what was
// written: nothing that may have been called is forgotten, nothing that is done
// is called in doubt, and the text always fits.
func TestPositionSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := position{frontier: rapid.Int64Range(0, 1<<40).Draw(t, "frontier"), seq: rapid.Uint64().Draw(t, "seq")}
		span := rapid.Int64Range(0, maxSpan).Draw(t, "span")
		p.calledTo = p.frontier + rapid.Int64Range(0, 2*maxSpan).Draw(t, "called to")
		density := rapid.IntRange(0, 100).Draw(t, "done percent")
		in := rapid.IntRange(0, 100).Draw(t, "left percent")
		if rapid.Bool().Draw(t, "left cleanly") {
			p.left = &runs{}
		}
		dice := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "dice"), 1))
		for i := range span {
			switch done := dice.IntN(100) < density; {
			case done:
				p.done.set(i)
			case p.left != nil && p.frontier+i < p.calledTo && dice.IntN(100) < in:
				p.left.add(p.frontier+i, p.frontier+i+1)
			}
		}
		text := p.metadata()
		if len(text) > metadataLimit {
			t.Fatalf("%d characters", len(text))
		}
		got, err := parsePosition(p.frontier, text)
		if err != nil {
			t.Fatal(err)
		}
		if got.seq != p.seq || got.calledTo != p.calledTo {
			t.Fatalf("got %d, %d, want %d, %d", got.seq, got.calledTo, p.seq, p.calledTo)
		}
		for i := int64(-2); i < 2*maxSpan+2; i++ {
			offset := p.frontier + i
			if got.has(offset) != p.has(offset) {
				t.Fatalf("offset %d: done %v, want %v", offset, got.has(offset), p.has(offset))
			}
			if p.mayHaveCalled(offset) && !got.mayHaveCalled(offset) {
				t.Fatalf("offset %d may have been called, which is forgotten", offset)
			}
			if got.left != nil && got.mayHaveCalled(offset) != p.mayHaveCalled(offset) {
				t.Fatalf("offset %d: doubt %v, want %v", offset, got.mayHaveCalled(offset), p.mayHaveCalled(offset))
			}
		}
		doubts, from := &runs{}, p.frontier+rapid.Int64Range(0, maxSpan).Draw(t, "from")
		got.doubts(from, doubts)
		for i := int64(-2); i < 2*maxSpan+2; i++ {
			offset := p.frontier + i
			if want := offset >= from && got.mayHaveCalled(offset); doubts.has(offset) != want {
				t.Fatalf("doubts from %d: offset %d is %v, want %v", from, offset, doubts.has(offset), want)
			}
		}
	})
}

func FuzzParsePosition(f *testing.F) {
	f.Add(int64(0), "")
	f.Add(int64(5), metadataVersion+"/AQ")
	f.Add(int64(5), "x/y")
	f.Fuzz(func(t *testing.T, frontier int64, metadata string) {
		p, err := parsePosition(frontier, metadata)
		if err == nil && len(p.done)*8 > maxSpan {
			t.Error("a set wider than a window was taken")
		}
		again, err2 := parsePosition(p.frontier, p.metadata())
		if err2 != nil || again.frontier != p.frontier {
			t.Errorf("what was parsed does not survive: %v", err2)
		}
	})
}

// TestLeftSetReachesBeyondTheWindow: a lane that leaves before it has taken in
// all that a former owner may have called passes that doubt on.
func TestLeftSetReachesBeyondTheWindow(t *testing.T) {
	r := newRig(t)
	r.src, r.lease = r.log, freeLease{}
	l := newLane(r.cfg, 0, r.deps())
	l.window = newWindow(10, 16)
	for name, tc := range map[string]struct {
		start position
		want  []int64
	}{
		"after a crash": {position{frontier: 10, calledTo: 14}, []int64{10, 11, 12, 13}},
		"after a leave": {position{frontier: 10, calledTo: 300, left: &runs{}}, []int64{12, 200}},
	} {
		if tc.start.left != nil {
			for _, offset := range tc.want {
				tc.start.left.add(offset, offset+1)
			}
		}
		l.start = tc.start
		left := l.mayHaveCalled()
		for offset := range int64(400) {
			if got, want := left.has(offset), slices.Contains(tc.want, offset); got != want {
				t.Errorf("%s: offset %d may have been called: %t, want %t", name, offset, got, want)
			}
		}
	}
}
