package plugin

import (
	"sync"

	"github.com/countersign/countersign/connector"
)

// notifier calls a callback with the latest of what was posted, from a
// goroutine of its own. post never blocks.
type notifier struct {
	mu     sync.Mutex
	next   *connector.Status // nil: nothing new
	closed bool
	wake   chan struct{}
	done   chan struct{}
}

// newNotifier with a nil callback swallows everything.
func newNotifier(call func(connector.Status)) *notifier {
	n := &notifier{wake: make(chan struct{}, 1), done: make(chan struct{})}
	if call == nil {
		call = func(connector.Status) {}
	}
	go n.run(call)
	return n
}

func (n *notifier) post(st connector.Status) {
	n.mu.Lock()
	n.next = &st
	n.mu.Unlock()
	n.signal()
}

// close delivers what was posted last and waits for the callback to return.
func (n *notifier) close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.signal()
	<-n.done
}

func (n *notifier) signal() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *notifier) run(call func(connector.Status)) {
	defer close(n.done)
	for range n.wake {
		n.mu.Lock()
		next, closed := n.next, n.closed
		n.next = nil
		n.mu.Unlock()
		if next != nil {
			call(*next)
		}
		if closed {
			return
		}
	}
}
