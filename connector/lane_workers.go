package connector

import "time"

// A worker that is used again has a stack as large as a call needs; a new one has
// to grow it first, which costs as much as encoding the result.
const (
	maxSpare = 128         // workers of a lane that wait for their next task
	spareFor = time.Second // without one, so that a burst leaves none behind
)

// work makes attempts, one after the other, until there are none to make.
func (l *lane) work(t task) {
	idle := time.NewTimer(spareFor)
	defer idle.Stop()
	for more := true; more; {
		l.ends <- l.attempt(t)
		if l.spare.Add(1) > maxSpare {
			l.spare.Add(-1)
			return
		}
		idle.Reset(spareFor)
		select {
		case t, more = <-l.tasks:
		case <-idle.C:
			more = false
		}
		l.spare.Add(-1)
	}
}
