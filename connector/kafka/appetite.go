package kafka

import (
	"cmp"
	"sync/atomic"
)

// appetite bounds the bytes that one reader of a partition asks for by what its
// batches are like. kafka-go decodes a whole answer at once and takes a page of
// 64 KiB for every batch in it, so a megabyte of batches of a few hundred bytes,
// which is what small transactions leave behind, would take hundreds of
// megabytes. The zero value begins carefully. It is safe for concurrent use.
type appetite struct{ bytes atomic.Int64 }

const (
	firstAppetite = 16 << 10
	leastAppetite = 4 << 10
	// batchesWanted in an answer are 4 MiB of pages.
	batchesWanted = 64
)

func (a *appetite) current() int { return int(cmp.Or(a.bytes.Load(), firstAppetite)) }

// of is how many bytes to ask for, where the caller takes so many at most.
func (a *appetite) of(most int) int { return min(most, a.current()) }

// note learns from an answer. More is asked for only after an answer that was
// filled by few batches: one that found little says nothing of what comes.
func (a *appetite) note(asked int, got Fetched) {
	size := int64(0)
	for i := range got.Records {
		size += got.Records[i].Size()
	}
	switch {
	case got.batches > batchesWanted:
		a.bytes.Store(int64(max(leastAppetite, asked*batchesWanted/got.batches)))
	case got.batches < batchesWanted/2 && asked >= a.current() && size >= int64(asked/2):
		a.bytes.Store(int64(4 * asked))
	}
}
