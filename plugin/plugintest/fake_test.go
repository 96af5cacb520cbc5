package plugintest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin"
	"github.com/countersign/countersign/plugin/plugintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The Fake keeps to the contract that it stands for.
func TestFakeLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(plugintest.Fake)
		changes := f.Changes()
		if err := f.Configure(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
		<-changes
		if err := f.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.Add(3)
		if st := f.Status(); st.State != connector.StateRunning || !st.Ready || st.InFlight != 3 {
			t.Errorf("%+v", st)
		}
		drained := make(chan error, 1)
		var last plugin.Progress
		go func() { drained <- f.Drain(t.Context(), func(p plugin.Progress) { last = p }) }()
		synctest.Wait()
		f.Add(-1)
		synctest.Wait()
		if last.InFlight != 2 || len(drained) > 0 {
			t.Errorf("progress %+v, %d results", last, len(drained))
		}
		f.Add(-2)
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if st := f.Status(); st.State != connector.StateStopped || st.Counters.Records != 3 {
			t.Errorf("%+v", st)
		}
	})
}

func TestFakeGivesUp(t *testing.T) {
	f := new(plugintest.Fake)
	f.Add(4)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var e *plugin.Error
	if err := f.Drain(ctx, func(plugin.Progress) {}); !errors.As(err, &e) || e.Code != plugin.CodeAbandoned || e.Abandoned != 4 {
		t.Errorf("%v", err)
	}
	if err := f.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := f.Drain(t.Context(), func(plugin.Progress) {}); plugin.CodeOf(err) != plugin.CodeAbandoned {
		t.Errorf("a drain after Stop: %v", err)
	}
}

func TestFakeScript(t *testing.T) {
	no := errors.New("no")
	f := &plugintest.Fake{
		Description: plugin.Info{Name: "mine"},
		Judge: func(doc []byte, _ map[string]string) []connector.Violation {
			return []connector.Violation{{Path: string(doc)}}
		},
	}
	if f.Info().Name != "mine" || new(plugintest.Fake).Info().Name != "fake" {
		t.Error("description")
	}
	if faults, err := f.Validate(t.Context(), []byte("p"), nil, true); err != nil || len(faults) != 1 || faults[0].Path != "p" {
		t.Errorf("%v, %v", faults, err)
	}
	if err := f.Configure(t.Context(), []byte("p"), nil); plugin.CodeOf(err) != plugin.CodeConfig {
		t.Errorf("%v", err)
	}
	f.OnCall = func(string) error { return no }
	for name, err := range map[string]error{
		"Configure": f.Configure(t.Context(), nil, nil),
		"Start":     f.Start(t.Context()),
		"Drain":     f.Drain(t.Context(), nil),
		"Stop":      f.Stop(t.Context()),
	} {
		if !errors.Is(err, no) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.Fail(no)
	f.Set(func(st *connector.Status) { st.Reason = "told to" })
	if st := f.Status(); st.State != connector.StateFailed || st.Reason != "told to" || !errors.Is(f.Err(), no) {
		t.Errorf("%+v, %v", st, f.Err())
	}
	var metrics strings.Builder
	if err := f.WriteMetrics(&metrics); err != nil || !strings.Contains(metrics.String(), "fake_in_flight 0") {
		t.Errorf("%q, %v", metrics.String(), err)
	}
}
