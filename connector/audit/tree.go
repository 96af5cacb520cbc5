package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/countersign/countersign/connector/kafka"
)

// DigestAlgorithm names how a Digest is made, in all its parts.
const DigestAlgorithm = "countersign-audit-1: SHA-256 trees of RFC 6962, section 2.1"

// Hash is a SHA-256, in JSON 64 hexadecimal digits.
type Hash [sha256.Size]byte

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("a hash has %d hexadecimal digits, not %d", hex.EncodedLen(len(h)), len(text))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// maxBlocks is how many blocks of a partition's tree a report lists at most.
const maxBlocks = 64

// tree is a growing hash tree of which only the right edge and the roots of
// full blocks are kept, so it takes the same memory for any number of records.
// Its fields are exported for a saved state.
type tree struct {
	N     int64 // records so far
	First int64
	Last  int64
	// Edge are the full subtrees that make up all records behind the last full
	// block, largest first; Sizes how many records each has.
	Edge  []Hash
	Sizes []int64
	// Level is the binary logarithm of how many records a block has.
	Level  int
	Blocks []Block // full ones
}

// add takes the next record's leaf.
func (t *tree) add(offset int64, leaf Hash) {
	if t.N == 0 {
		t.First = offset
	}
	if len(t.Edge) == 0 {
		t.Blocks = append(t.Blocks, Block{First: offset}) // its hash comes when it is full
	}
	t.N, t.Last = t.N+1, offset
	t.Edge, t.Sizes = append(t.Edge, leaf), append(t.Sizes, 1)
	for n := len(t.Edge); n > 1 && t.Sizes[n-1] == t.Sizes[n-2]; n-- {
		t.Edge[n-2] = node(t.Edge[n-2], t.Edge[n-1])
		t.Sizes[n-2] *= 2
		t.Edge, t.Sizes = t.Edge[:n-1], t.Sizes[:n-1]
	}
	if t.Sizes[0] == t.block() {
		t.Blocks[len(t.Blocks)-1].Hash = t.Edge[0]
		t.Edge, t.Sizes = t.Edge[:0], t.Sizes[:0]
		if len(t.Blocks) == maxBlocks {
			t.coarsen()
		}
	}
}

func (t *tree) block() int64 { return 1 << t.Level }

// coarsen makes one block of two. All are full, and their number is even.
func (t *tree) coarsen() {
	half := t.Blocks[:0]
	for i := 0; i < len(t.Blocks); i += 2 {
		half = append(half, Block{First: t.Blocks[i].First, Hash: node(t.Blocks[i].Hash, t.Blocks[i+1].Hash)})
	}
	t.Blocks, t.Level = half, t.Level+1
}

// end is the report's tree of what was added.
func (t *tree) end(topic string, partition int) Tree {
	out := Tree{Topic: topic, Partition: partition, Records: t.N, First: t.First, Last: t.Last, Block: t.block()}
	out.Blocks = append(out.Blocks, t.Blocks...)
	if n := len(t.Edge); n > 0 {
		rest := t.Edge[n-1]
		for i := n - 2; i >= 0; i-- {
			rest = node(t.Edge[i], rest)
		}
		out.Blocks[len(out.Blocks)-1].Hash = rest
	}
	out.Root = out.root()
	return out
}

// root is made of the blocks: RFC 6962 splits a tree at the largest power of two
// below its size, so every full block is a subtree, and so is the rest.
func (t *Tree) root() Hash {
	if len(t.Blocks) == 0 {
		return sha256.Sum256(nil)
	}
	var hashes []Hash
	for _, b := range t.Blocks {
		hashes = append(hashes, b.Hash)
	}
	return fold(hashes)
}

// fold is the root of a tree of which all leaves but the last are subtrees of one
// size and the last is no larger.
func fold(hashes []Hash) Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	split := 1
	for 2*split < len(hashes) {
		split *= 2
	}
	return node(fold(hashes[:split]), fold(hashes[split:]))
}

func node(left, right Hash) Hash { return Hash(tlog.NodeHash(tlog.Hash(left), tlog.Hash(right))) }

// leafOf is the leaf of a record: everything that a reader sees of it.
// Scratch is used and returned, to be used again.
func leafOf(scratch []byte, r *kafka.Record) (Hash, []byte) {
	b := append(scratch[:0], 0) // RFC 6962: a leaf begins with 0
	b = append(b, "countersign record 1"...)
	b = appendSized(b, []byte(r.Topic))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Partition))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Offset))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Timestamp.UnixMilli()))
	b = appendNullable(b, r.Key)
	b = appendNullable(b, r.Value)
	b = binary.BigEndian.AppendUint64(b, uint64(len(r.Headers)))
	for _, h := range r.Headers {
		b = appendSized(b, []byte(h.Key))
		b = appendNullable(b, h.Value)
	}
	return sha256.Sum256(b), b
}

func appendSized(b, data []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(data)))
	return append(b, data...)
}

// appendNullable tells null, which is one byte 0, from an empty value.
func appendNullable(b, data []byte) []byte {
	if data == nil {
		return append(b, 0)
	}
	return appendSized(append(b, 1), data)
}

// digest is over the trees, each a leaf of one more tree.
func digest(trees []Tree) Digest {
	d := Digest{Algorithm: DigestAlgorithm, Trees: trees, Root: sha256.Sum256(nil)}
	if trees == nil {
		d.Trees = []Tree{}
	}
	var leaves []Hash
	for i := range trees {
		t := &trees[i]
		b := append([]byte{0}, "countersign tree 1"...)
		b = appendSized(b, []byte(t.Topic))
		for _, n := range []int64{int64(t.Partition), t.Records, t.First, t.Last} {
			b = binary.BigEndian.AppendUint64(b, uint64(n))
		}
		leaves = append(leaves, sha256.Sum256(append(b, t.Root[:]...)))
	}
	if len(leaves) > 0 {
		d.Root = fold(leaves)
	}
	return d
}
