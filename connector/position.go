package connector

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// position is what a lane commits: every record below frontier has its outcome
// committed, and so has every record whose offset above it is set in done.
type position struct {
	frontier int64
	done     bitmap // bit i stands for frontier + i
	// calledTo is above every offset whose create or update may have been sent.
	// It never shrinks.
	calledTo int64
	// left is there after a clean leave: exactly the records that may have been
	// called and have no outcome. Nil: that may be any below calledTo.
	left *runs
	// seq counts the commits of the partition, so that no two are alike.
	seq uint64
}

// The commit metadata is a version, a slash and, in base64, the numbers seq and
// calledTo - frontier, the done bitmap behind its length, and the runs of left
// behind their number plus one (0: no left). At the full span of 16,384 offsets
// the bitmap takes 2,731 characters of the broker's default limit of 4,096
// (offset.metadata.max.bytes). Where left does not fit into the rest it is left
// out: then all below calledTo may have been called, which is more than the
// truth and costs look-ups, but no call.
const (
	metadataVersion = "countersign.2"
	metadataLimit   = 4096
)

// maxSpan is the widest window that the metadata has room for.
const maxSpan = 16384

var errForeignMetadata = errors.New("the commit metadata was not written by this version of Countersign")

func (p position) metadata() string {
	b := binary.AppendUvarint(nil, p.seq)
	b = binary.AppendUvarint(b, uint64(max(0, p.calledTo-p.frontier)))
	done := p.done.trimmed()
	b = binary.AppendUvarint(b, uint64(len(done)))
	b = append(b, done...)
	if p.left != nil {
		whole := p.left.append(b, p.frontier)
		if len(metadataVersion)+1+base64.RawStdEncoding.EncodedLen(len(whole)) <= metadataLimit {
			return metadataVersion + "/" + base64.RawStdEncoding.EncodeToString(whole)
		}
	}
	b = append(b, 0)
	return metadataVersion + "/" + base64.RawStdEncoding.EncodeToString(b)
}

// parsePosition reads what was committed. An error is always
// errForeignMetadata, and the position then holds the frontier alone. Metadata
// that is empty is foreign too: it stands for a commit made by hand or by
// another tool.
func parsePosition(frontier int64, metadata string) (position, error) {
	bare := position{frontier: frontier, calledTo: frontier}
	version, text, found := strings.Cut(metadata, "/")
	if !found || version != metadataVersion {
		return bare, errForeignMetadata
	}
	b, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return bare, fmt.Errorf("%w: %w", errForeignMetadata, err)
	}
	r := reader{b: b}
	p := position{frontier: frontier, seq: r.number()}
	p.calledTo = frontier + r.offset()
	p.done = bitmap(r.take(maxSpan / 8))
	p.left = r.runs(frontier)
	if r.bad || len(r.b) > 0 || p.calledTo < frontier {
		return bare, fmt.Errorf("%w: its content does not parse", errForeignMetadata)
	}
	return p, nil
}

// has reports whether the record at offset was done when p was committed.
func (p position) has(offset int64) bool {
	return offset < p.frontier || p.done.has(offset-p.frontier)
}

// mayHaveCalled reports whether the record at offset may have been called
// without having its outcome committed.
func (p position) mayHaveCalled(offset int64) bool {
	if p.has(offset) || offset >= p.calledTo {
		return false
	}
	return p.left == nil || p.left.has(offset)
}

// doubts adds to out all that may have been called from the given offset on.
func (p position) doubts(from int64, out *runs) {
	from = max(from, p.frontier)
	plain := min(p.calledTo, p.frontier+p.done.end())
	for ; from < plain; from++ {
		if p.mayHaveCalled(from) {
			out.add(from, from+1)
		}
	}
	if p.left == nil {
		if from < p.calledTo {
			out.add(from, p.calledTo)
		}
		return
	}
	for _, r := range p.left.list {
		if first, end := max(r.first, from), min(r.end, p.calledTo); first < end {
			out.add(first, end)
		}
	}
}

// reader takes the numbers of a position apart. After the first fault it gives
// zeros and bad is set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) offset() int64 {
	n := r.number()
	if n > math.MaxInt64/4 {
		r.bad = true
		return 0
	}
	return int64(n)
}

func (r *reader) take(most int) []byte {
	n := r.number()
	if n > uint64(most) || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) runs(frontier int64) *runs {
	n := r.number()
	if n == 0 {
		return nil
	}
	out, at := &runs{}, frontier
	for range n - 1 {
		gap, length := r.offset(), r.offset()
		if r.bad || length == 0 || at > math.MaxInt64/2 {
			r.bad = true
			return nil
		}
		out.add(at+gap, at+gap+length)
		at += gap + length
	}
	return out
}

// runs is a set of offsets kept as runs. The zero value is empty. Runs are added
// in order.
type runs struct{ list []run }

// run is the offsets from its first up to, but not including, end.
type run struct{ first, end int64 }

func (s *runs) add(first, end int64) {
	if n := len(s.list); n > 0 && s.list[n-1].end == first {
		s.list[n-1].end = end
		return
	}
	s.list = append(s.list, run{first, end})
}

func (s *runs) has(offset int64) bool {
	lo, hi := 0, len(s.list)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if s.list[mid].end <= offset {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(s.list) && s.list[lo].first <= offset
}

func (s *runs) append(b []byte, frontier int64) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.list))+1)
	at := frontier
	for _, r := range s.list {
		b = binary.AppendUvarint(b, uint64(r.first-at))
		b = binary.AppendUvarint(b, uint64(r.end-r.first))
		at = r.end
	}
	return b
}

// bitmap is a set of small non-negative numbers. The zero value is empty.
type bitmap []byte

func (b *bitmap) set(i int64) {
	for int64(len(*b))*8 <= i {
		*b = append(*b, 0)
	}
	(*b)[i/8] |= 1 << (i % 8)
}

func (b bitmap) has(i int64) bool {
	return i >= 0 && i/8 < int64(len(b)) && b[i/8]&(1<<(i%8)) != 0
}

// end is above every number of the set.
func (b bitmap) end() int64 { return int64(len(b)) * 8 }

// trimmed is b without the zeros behind its last number.
func (b bitmap) trimmed() bitmap {
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return b[:n]
}
