package connector

import "sync"

// budget bounds the records and bytes that all lanes of an instance hold. A
// lane that holds nothing always gets its first record, so that one lane's
// backlog cannot stop another lane altogether. It is safe for concurrent use.
type budget struct {
	mu      sync.Mutex
	records int
	bytes   int64
	waiting map[chan<- struct{}]struct{} // lanes to wake, each with room for one signal
}

func newBudget(records int, bytes int64) *budget {
	return &budget{records: records, bytes: bytes, waiting: map[chan<- struct{}]struct{}{}}
}

// take reserves room for one record. Where there is none it reports false and
// will signal wake once room has come back; first overrides the bound.
func (b *budget) take(bytes int64, first bool, wake chan<- struct{}) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !first && (b.records < 1 || b.bytes < bytes) {
		b.waiting[wake] = struct{}{}
		return false
	}
	b.records--
	b.bytes -= bytes
	return true
}

// give returns room and wakes who waits for it.
func (b *budget) give(records int, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records += records
	b.bytes += bytes
	for wake := range b.waiting {
		delete(b.waiting, wake)
		select {
		case wake <- struct{}{}:
		default: // it has a signal to read already
		}
	}
}

// forget drops a lane that ends.
func (b *budget) forget(wake chan<- struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.waiting, wake)
}
