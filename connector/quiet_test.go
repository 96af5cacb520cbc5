package connector

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

func TestQuietSaysTheSameTroubleNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := newQuiet(slog.NewTextHandler(&out, nil))
		refused, slow := errors.New("refused"), errors.New("slow")
		lines := func() (n int) {
			defer out.Reset()
			return strings.Count(out.String(), "\n")
		}
		for p := range 6 {
			lane := log.With("partition", p)
			for offset := range 10 {
				lane.Warn("cannot fetch", "error", fmt.Errorf("at %d: %w", offset, refused))
				lane.Warn("cannot fetch", "error", fmt.Errorf("at %d: %w", offset, errors.Join(errors.New("x"), slow)))
				lane.Warn("cannot commit", "error", refused)
			}
		}
		if n := lines(); n != 3 {
			t.Errorf("%d lines for three troubles", n)
		}
		<-time.After(quietFor)
		log.Warn("cannot fetch", "error", refused)
		if text := out.String(); !strings.Contains(text, "repeated=59") {
			t.Errorf("%q does not say how often it happened between", text)
		}
		out.Reset()
		for range 3 {
			log.Error("broken", "error", refused)
			log.Info("begun")
		}
		if n := lines(); n != 6 {
			t.Errorf("%d lines of 6 that are no repeated warning", n)
		}
		for _, topic := range []string{"results", "deadletters"} {
			denied := &kafka.Error{Code: kafka.CodeDenied, Op: "produce", Err: fmt.Errorf("needs Write on Topic %s: %w", topic, refused)}
			log.Warn("cannot commit", "error", fmt.Errorf("partition 1: %w", denied))
		}
		if n := lines(); n != 2 {
			t.Errorf("%d lines for two rights that are missing", n)
		}
		for range 2 {
			for _, answer := range []string{"replicas", "loading"} {
				log.Warn("cannot commit", "error", fmt.Errorf("partition 1: %w", &kafka.AnsweredBefore{Err: slow, Answer: answer}))
			}
		}
		if n := lines(); n != 2 {
			t.Errorf("%d lines for two answers before none came", n)
		}
		for i := range 3 * quietKinds {
			log.Warn("cannot fetch", "error", fmt.Errorf("kind %d", i))
		}
		if n := lines(); n != 3*quietKinds {
			t.Errorf("%d lines for %d troubles", n, 3*quietKinds)
		}
	})
}
