package connector

// keyQueues keeps the records of a lane in order per key: one record of a key
// at a time, many keys at once. Different keys never wait for each other.
type keyQueues struct {
	queues map[string][]*entry // head first; the head is the key's active record
}

func newKeyQueues() *keyQueues { return &keyQueues{queues: map[string][]*entry{}} }

// push adds a record behind those of its key and reports whether it is first.
func (q *keyQueues) push(e *entry) bool {
	waiting := q.queues[e.key]
	q.queues[e.key] = append(waiting, e)
	return len(waiting) == 0
}

// pop removes the key's active record, which must be e, and returns the one
// that follows it, or nil.
func (q *keyQueues) pop(e *entry) *entry {
	waiting := q.queues[e.key]
	if len(waiting) == 0 || waiting[0] != e {
		panic("connector: a record finished that was not its key's first")
	}
	if len(waiting) == 1 {
		delete(q.queues, e.key)
		return nil
	}
	waiting[0] = nil
	q.queues[e.key] = waiting[1:]
	return waiting[1]
}
