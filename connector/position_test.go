package connector

import (
	"errors"
	"strings"
	"testing"
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
	var p position
	p.done.set(3)
	good := p.metadata()
	for _, tc := range []struct {
		name, metadata string
		foreign        bool
	}{
		{"none", "", false},
		{"empty set", metadataVersion + "/", false},
		{"own", good, false},
		{"another tool's", "committed by somebody", true},
		{"another version", "countersign.9/" + strings.TrimPrefix(good, metadataVersion+"/"), true},
		{"not base64", metadataVersion + "/***", true},
		{"wider than a window", metadataVersion + "/" + strings.Repeat("A", maxSpan), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parsePosition(10, tc.metadata)
			if errors.Is(err, errForeignMetadata) != tc.foreign {
				t.Fatalf("error %v, want foreign: %v", err, tc.foreign)
			}
			if got.frontier != 10 || !got.has(9) || got.has(10) {
				t.Errorf("got %+v: whatever the metadata, the offset counts and 10 is not done", got)
			}
		})
	}
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
