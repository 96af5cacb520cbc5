package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

// kept is all of a tree's hashes, as tlog stores them.
type kept []tlog.Hash

func (k kept) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		out = append(out, k[i])
	}
	return out, nil
}

// The tree is that of RFC 6962, by the implementation of Go's checksum database.
func TestTreeIsTheRFCs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.Int64Range(0, 300), rapid.Int64Range(4000, 9000)).Draw(t, "records")
		var grown tree
		var stored kept
		for i := range n {
			leaf := tlog.RecordHash(binary.BigEndian.AppendUint64(nil, uint64(i)))
			grown.add(2*i, Hash(leaf))
			more, err := tlog.StoredHashesForRecordHash(i, leaf, stored)
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, more...)
		}
		want := tlog.Hash(sha256.Sum256(nil))
		if n > 0 {
			var err error
			if want, err = tlog.TreeHash(n, stored); err != nil {
				t.Fatal(err)
			}
		}
		got := grown.end("t", 3)
		if got.Root != Hash(want) || got.Records != n {
			t.Fatalf("%d records: %v, want %v", n, got.Root, want)
		}
		if len(got.Blocks) > maxBlocks {
			t.Fatalf("%d blocks", len(got.Blocks))
		}
		for i, b := range got.Blocks {
			first := int64(i) * got.Block
			if b.First != 2*first {
				t.Fatalf("block %d of %d records begins at %d", i, got.Block, b.First)
			}
			if end := first + got.Block; end <= n {
				sub, err := tlog.TreeHash(got.Block, shifted{stored, first})
				if err != nil || b.Hash != Hash(sub) {
					t.Fatalf("block %d: %v, want %v, %v", i, b.Hash, sub, err)
				}
			}
		}
	})
}

// shifted is the subtree that begins at a record.
type shifted struct {
	of    kept
	first int64
}

func (s shifted) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var there []int64
	for _, i := range indexes {
		level, n := tlog.SplitStoredHashIndex(i)
		there = append(there, tlog.StoredHashIndex(level, n+s.first>>level))
	}
	return s.of.ReadHashes(there)
}

func TestHashText(t *testing.T) {
	var h Hash
	for text, ok := range map[string]bool{
		"": false, "00": false,
		"0f00000000000000000000000000000000000000000000000000000000000001":   true,
		"0g00000000000000000000000000000000000000000000000000000000000001":   false,
		"0f0000000000000000000000000000000000000000000000000000000000000100": false,
	} {
		err := h.UnmarshalText([]byte(text))
		if (err == nil) != ok || ok && h.String() != text {
			t.Errorf("%q: %v, %v", text, h, err)
		}
	}
}
