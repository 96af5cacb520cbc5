package connector

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// position is what a lane commits: every record below frontier has its outcome
// committed, and so has every record whose offset above it is set in done.
type position struct {
	frontier int64
	done     bitmap // bit i stands for frontier + i
}

// The commit metadata is a version, a slash and the bitmap in base64: at the
// full span of 16,384 offsets 2,745 bytes, below the broker's default limit of
// 4,096 (offset.metadata.max.bytes). An empty text means an empty bitmap.
const metadataVersion = "countersign.1"

// maxSpan is the widest window that the metadata has room for.
const maxSpan = 16384

var errForeignMetadata = errors.New("the commit metadata was not written by this version of Countersign")

func (p position) metadata() string {
	if p.done.empty() {
		return metadataVersion + "/"
	}
	return metadataVersion + "/" + base64.RawStdEncoding.EncodeToString(p.done)
}

// parsePosition reads what was committed. Metadata that is empty stands for a
// plain commit, made by hand or by another tool: nothing above it is done.
func parsePosition(frontier int64, metadata string) (position, error) {
	p := position{frontier: frontier}
	if metadata == "" {
		return p, nil
	}
	version, bits, found := strings.Cut(metadata, "/")
	if !found || version != metadataVersion {
		return p, errForeignMetadata
	}
	done, err := base64.RawStdEncoding.DecodeString(bits)
	if err != nil {
		return p, fmt.Errorf("%w: %w", errForeignMetadata, err)
	}
	if len(done)*8 > maxSpan {
		return p, fmt.Errorf("%w: %d bits are more than a window holds", errForeignMetadata, len(done)*8)
	}
	p.done = done
	return p, nil
}

// has reports whether the record at offset was done when p was committed.
func (p position) has(offset int64) bool {
	return offset < p.frontier || p.done.has(offset-p.frontier)
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

func (b bitmap) empty() bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
