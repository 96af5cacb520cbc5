package plugin_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin"
	"github.com/countersign/countersign/plugin/plugintest"
)

// The same Connector in this process: one call, the same promises.
func TestEmbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(plugintest.Fake)
		var calls []string
		fake.OnCall = func(call string) error {
			calls = append(calls, call)
			return nil
		}
		var states []connector.State
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			result <- plugin.Embed(ctx, fake, plugin.Spec{OnStatus: func(st connector.Status) {
				if n := len(states); n == 0 || states[n-1] != st.State {
					states = append(states, st.State)
				}
			}})
		}()
		synctest.Wait()
		fake.Add(2)
		cancel()
		synctest.Wait()
		fake.Add(-2)
		if err := <-result; err != nil {
			t.Error(err)
		}
		if len(calls) != 4 || calls[0] != "Configure" || calls[3] != "Stop" {
			t.Errorf("calls %q", calls)
		}
		if len(states) < 2 || states[0] != connector.StateRunning || states[len(states)-1] != connector.StateStopped {
			t.Errorf("states %q", states)
		}
	})
}

func TestEmbedFails(t *testing.T) {
	lost := errors.New("lost")
	on := func(call string, err error) func(string) error {
		return func(c string) error {
			if c == call {
				return err
			}
			return nil
		}
	}
	tests := map[string]struct {
		fake *plugintest.Fake
		spec plugin.Spec
		code plugin.Code
	}{
		"secrets": {new(plugintest.Fake), plugin.Spec{Secrets: func(context.Context) (map[string]string, error) { return nil, lost }}, plugin.CodeSecrets},
		"configuration": {&plugintest.Fake{Judge: func([]byte, map[string]string) []connector.Violation {
			return []connector.Violation{{Path: "p"}}
		}}, plugin.Spec{}, plugin.CodeConfig},
		"start":       {&plugintest.Fake{OnCall: on("Start", lost)}, plugin.Spec{}, plugin.CodeInternal},
		"fails later": {new(plugintest.Fake), plugin.Spec{}, plugin.CodeHung},
		"busy":        {new(plugintest.Fake), plugin.Spec{DrainTimeout: time.Second}, plugin.CodeAbandoned},
		"drain":       {&plugintest.Fake{OnCall: on("Drain", lost)}, plugin.Spec{}, plugin.CodeInternal},
		"stuck":       {&plugintest.Fake{OnCall: stuckDrain}, plugin.Spec{}, plugin.CodeAbandoned},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				result := make(chan error, 1)
				go func() { result <- plugin.Embed(ctx, tt.fake, tt.spec) }()
				synctest.Wait()
				if name == "fails later" {
					tt.fake.Fail(&plugin.Error{Code: plugin.CodeHung})
				}
				if name == "busy" {
					tt.fake.Add(1)
				}
				synctest.Wait()
				cancel()
				if err := <-result; plugin.CodeOf(err) != tt.code {
					t.Errorf("%v, want code %s", err, tt.code)
				}
				<-time.After(2 * time.Hour) // of the bubble: a stuck drain ends too
			})
		})
	}
}

// stuckDrain ignores the deadline of a drain, but not for ever.
func stuckDrain(call string) error {
	if call == "Drain" {
		<-time.After(time.Hour)
	}
	return nil
}
