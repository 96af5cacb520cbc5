package connector

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// TestVitals: what is tried again holds a lane up until it succeeds, however it
// fails in between; what ends the lane does not.
func TestVitals(t *testing.T) {
	waited := map[kafka.ErrorCode]bool{
		kafka.CodeUnavailable: true, kafka.CodeUnknownTopic: true, kafka.CodeDenied: true, kafka.CodeUnauthenticated: true, kafka.CodeTLS: true,
		kafka.CodeFenced: false, kafka.CodeOwnershipLost: false, kafka.CodeOutOfRange: false, kafka.CodeInvalid: false,
	}
	for code, held := range waited {
		t.Run(string(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVitals(nil, time.Now())
				for range 3 {
					v.begin(stepTakeOver)
					<-time.After(unwellAfter)
					v.end(stepTakeOver, &kafka.Error{Code: code, Op: "test"})
				}
				if got := v.held[stepTakeOver] != nil && v.held[stepTakeOver].err != nil; got != held {
					t.Errorf("held up: %v, want %v", got, held)
				}
				v.begin(stepTakeOver)
				v.end(stepTakeOver, nil)
				if v.held[stepTakeOver] != nil {
					t.Error("held up by what has succeeded")
				}
			})
		})
	}
}

// TestVitalsSayWhatAStepWaitsFor: a step that ends only when the brokers answer says
// why it goes on, and nothing else is held up by that.
func TestVitalsSayWhatAStepWaitsFor(t *testing.T) {
	why := &kafka.Error{Code: kafka.CodeUnavailable, Op: "fence"}
	for _, step := range []string{stepTakeOver, stepCommit} {
		v := newVitals(&kafka.Session{}, time.Now())
		v.waits(why)
		v.begin(step)
		if got, _ := v.unwell(time.Now().Add(unwellAfter)); got != "partition 0: "+step+": no answer" {
			t.Errorf("%q before there was one", got)
		}
		v.waits(why)
		if got, _ := v.unwell(time.Now().Add(unwellAfter)); got != "partition 0: "+step+": "+why.Error() {
			t.Errorf("%q", got)
		}
		v.end(step, nil)
		if v.held[step] != nil {
			t.Errorf("%s is held up when it is done", step)
		}
	}
}
