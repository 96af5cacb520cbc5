package connector

// ids keeps the request ids that a lane has in hand. An id in flight counts as
// seen: a second record with it waits for the first one's outcome.
type ids struct {
	undone map[hash][]*entry // in offset order; the first one may go
	fresh  map[hash]seenID   // outcomes that are not committed yet
}

func newIDs() *ids { return &ids{undone: map[hash][]*entry{}, fresh: map[hash]seenID{}} }

// enter puts e behind the records that carry its id.
func (d *ids) enter(e *entry) {
	if e.id != (hash{}) {
		d.undone[e.id] = append(d.undone[e.id], e)
	}
}

// first reports whether no earlier record with e's id is undone.
func (d *ids) first(e *entry) bool {
	q := d.undone[e.id]
	return len(q) == 0 || q[0] == e
}

// done takes out e, which has its outcome, and returns the record that follows
// it, or nil.
func (d *ids) done(e *entry) *entry {
	q := d.undone[e.id]
	for i, other := range q {
		if other != e {
			continue
		}
		if len(q) == 1 {
			delete(d.undone, e.id)
			return nil
		}
		d.undone[e.id] = append(q[:i:i], q[i+1:]...)
		if i == 0 {
			return d.undone[e.id][0]
		}
		return nil
	}
	return nil
}
