package plugin

import "sync"

// drain is one drain under way, watched by any number of calls.
type drain struct {
	done chan struct{}
	err  error // valid once done is closed

	mu       sync.Mutex
	progress Progress
	changed  chan struct{}
}

func newDrain() *drain {
	return &drain{done: make(chan struct{}), changed: make(chan struct{})}
}

// report keeps the latest progress and wakes the watchers.
func (d *drain) report(p Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.progress = p
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *drain) end(err error) {
	d.err = err
	close(d.done)
}

func (d *drain) latest() Progress {
	p, _ := d.watch()
	return p
}

// watch returns the progress and a channel that is closed at the next one.
func (d *drain) watch() (Progress, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.progress, d.changed
}
