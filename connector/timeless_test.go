package connector

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/schemas"
)

// TestRecordWithoutATimestamp: some producers write none. A create that ended in
// doubt is looked for all the same before its request is called again.
func TestRecordWithoutATimestamp(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			notAfter := time.Now().Add(30 * time.Minute).UTC()
			event := encodeRequest(t, schemas.Request{
				ID: "r", Operation: schemas.OperationCreate, ServiceSID: testService, Identity: "identity-1", NotAfter: &notAfter,
				Create: &schemas.Create{FactorSID: testFactor, Details: &schemas.Details{Message: "Sign in?"}},
			})
			add := func() {
				r.log.add("a", event, 0)
				r.log.mu.Lock()
				r.log.records[len(r.log.records)-1].Timestamp = time.Time{} // as kafka-go shows none
				r.log.mu.Unlock()
			}
			r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) { return answer{}, errLostAnswer }
			r.api.seen = func(context.Context, query) (sighting, error) { return sighting{date: time.Now()}, nil } // the page cap
			add()
			r.start()
			pass(20 * time.Second)
			if restart {
				r.mustEnd()
				r.start()
				pass(time.Second)
			}
			add()
			pass(20 * time.Second)
			r.mustEnd()
			for _, res := range r.log.results() {
				if res.Outcome != schemas.OutcomeFailed || res.Error.Class != schemas.ClassAmbiguous {
					t.Errorf("restart %t: %s %+v", restart, res.Outcome, res.Error)
				}
			}
			if n := r.api.called("r"); n != 1 || len(r.log.results()) != 2 {
				t.Errorf("restart %t: called %d times, %d results", restart, n, len(r.log.results()))
			}
		})
	}
}
