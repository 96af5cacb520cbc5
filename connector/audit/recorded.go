package audit

import (
	"context"
	"iter"
	"maps"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// compare asks the API about the window's challenges and adds what it says to a
// report.
func (j *join) compare(ctx context.Context, r *Report) error {
	cfg := *j.cfg.Compare
	cfg.MaxFindings = j.cfg.MaxFindings
	if cfg.Identity == nil {
		hide := newMask(j.cfg.IdentityKey)
		cfg.Identity = func(identity string) string {
			if j.cfg.Reveal {
				return identity
			}
			return hide.of(identity)
		}
	}
	if cfg.Progress == nil && j.cfg.Progress != nil {
		cfg.Progress = func(done, total int64) { j.cfg.Progress(Progress{Done: done, Total: total, Comparing: true}) }
	}
	deleted := int64(0)
	compared, err := Compare(ctx, cfg, j.recorded(ctx, &deleted))
	if err != nil {
		return err
	}
	r.API = &compared.API
	r.API.Deleted = deleted
	r.Findings = append(r.Findings, compared.Findings...)
	maps.Copy(r.Counts.ByKind, compared.ByKind)
	for _, n := range compared.ByKind {
		r.Counts.FindingsLeftOut += n
	}
	r.Counts.FindingsLeftOut -= int64(len(compared.Findings))
	return nil
}

// recorded is what the window's results say of challenges. Offsets that are deleted
// since they were read first are added to deleted.
func (j *join) recorded(ctx context.Context, deleted *int64) iter.Seq2[Recorded, error] {
	return func(yield func(Recorded, error) bool) {
		over, reader := false, j.newReader()
		gone, err := j.again(ctx, results, func(number int, rec *kafka.Record) bool {
			res, a, ok := reader.covered(rec)
			if !ok || res.Challenge == nil || a.rawSID == "" || res.Operation == schemas.OperationList {
				return true
			}
			at := res.Request.Timestamp
			over = !yield(Recorded{
				SID: a.rawSID, Account: res.Account, ServiceSID: res.ServiceSID, Identity: res.Identity, RequestID: res.RequestID,
				Operation: res.Operation, Challenge: res.Challenge,
				Result:  Place{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset},
				Request: Place{Topic: res.Request.Topic, Partition: res.Request.Partition, Offset: res.Request.Offset, Timestamp: &at},
			}, nil)
			return !over
		})
		for _, l := range gone {
			*deleted += l.End - l.Start
		}
		if err != nil && !over {
			yield(Recorded{}, err)
		}
	}
}
