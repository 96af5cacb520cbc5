package connector

import (
	"context"
	"errors"
	"net"
	"strings"
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

// TestVitalsSayWhyAStepGoesOn: a step that waits for the brokers says what for
// before it ends; one step's reason is not another's.
func TestVitalsSayWhyAStepGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody is there") }
		client, err := kafka.NewClient(kafka.Config{Brokers: []string{"kafka:9092"}, Dial: away})
		if err != nil {
			t.Fatal(err)
		}
		v := newVitals(&kafka.Session{}, time.Now())
		v.begin(stepCommit)
		v.begin(stepTakeOver)
		tried := make(chan error)
		go func() {
			_, err := client.Partitions(v.telling(t.Context(), stepTakeOver), "t")
			tried <- err
		}()
		<-time.After(unwellAfter)
		said := func() string {
			why, _ := v.unwell(time.Now())
			return why
		}
		if got := said(); !strings.HasPrefix(got, "partition 0: "+stepTakeOver) || !strings.Contains(got, "nobody is there") {
			t.Errorf("it says %q while it waits", got)
		}
		if err := <-tried; kafka.CodeOf(err) != kafka.CodeUnavailable {
			t.Errorf("it ended with %v", err)
		}
		v.end(stepTakeOver, nil)
		if got, want := said(), "partition 0: "+stepCommit+": no answer"; got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
}
