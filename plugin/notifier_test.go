package plugin

import (
	"testing"

	"github.com/countersign/countersign/connector"
)

// A slow callback misses what was replaced meanwhile, and never the last.
func TestNotifier(t *testing.T) {
	entered := make(chan connector.Status)
	release := make(chan struct{})
	n := newNotifier(func(st connector.Status) {
		entered <- st
		<-release
	})
	n.post(connector.Status{InFlight: 1})
	if st := within(t, entered, "the first call"); st.InFlight != 1 {
		t.Errorf("%+v", st)
	}
	for i := range 5 {
		n.post(connector.Status{InFlight: 10 + i})
	}
	closing := make(chan struct{})
	go func() {
		defer close(closing)
		n.close()
	}()
	release <- struct{}{}
	if st := within(t, entered, "the last call"); st.InFlight != 14 {
		t.Errorf("%+v, want the last one", st)
	}
	release <- struct{}{}
	within(t, closing, "the end of close")

	silent := newNotifier(nil)
	silent.post(connector.Status{})
	silent.close()
}
