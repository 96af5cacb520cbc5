package audit

import (
	"context"
	"fmt"

	"github.com/countersign/countersign/connector/kafka"
)

// checkWindow says where the offsets of a report are not those of the window that it
// names: a record of the window that they leave out, or another's that they take in.
// Nobody would miss what a forged report does not cover. Where a window without an
// end, or one that had not ended, ended then is known to nobody but the report.
func (j *join) checkWindow(ctx context.Context, w *Window) ([]Difference, error) {
	if w.ByOffsets {
		return nil, nil
	}
	for i, s := range w.Requests {
		if s.Partition != i {
			return nil, invalid("the report's window is by time, and its offsets leave out partition %d", i)
		}
	}
	held, err := j.ranges(ctx, w.Topics.Requests)
	if err != nil {
		return nil, err
	}
	var out []Difference
	for partition, log := range held {
		found, err := j.checkSpan(ctx, w, partition, log)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// checkSpan does so for one partition.
func (j *join) checkSpan(ctx context.Context, w *Window, partition int, log kafka.Range) (out []Difference, err error) {
	var is OffsetSpan
	err = j.patiently(ctx, func() (err error) {
		is, _, err = timeSpan(ctx, j.cluster, j.cfg, partition, log)
		return err
	})
	if err != nil {
		return nil, kafkaFailed(ctx, err)
	}
	ends := w.To != nil && !w.NotEnded
	was := OffsetSpan{partition, is.From, is.From}
	switch {
	case partition < len(w.Requests):
		was = w.Requests[partition]
	case !ends:
		return nil, nil // it may be newer than the report
	}
	look := func(from, to int64, text string) {
		if from = max(from, log.Start); err != nil || from >= min(to, log.End) {
			return
		}
		var rec *kafka.Record
		if rec, err = j.firstRecord(ctx, w.Topics.Requests, OffsetSpan{partition, from, min(to, log.End)}); rec != nil {
			out = append(out, Difference{
				Topic: w.Topics.Requests, Partition: partition, From: rec.Offset, To: min(to, log.End) - 1,
				Text: fmt.Sprintf(text, coordinates(w.Topics.Requests, partition, rec.Offset)),
			})
		}
	}
	const leftOut, takenIn = "The record at %s belongs to the window, and the report does not cover it.", "The record at %s does not belong to the window, and the report covers it."
	look(is.From, min(was.From, is.To), leftOut)
	look(was.From, min(was.To, is.From), takenIn)
	if ends {
		look(max(was.To, is.From), is.To, leftOut)
		look(max(is.To, was.From), was.To, takenIn)
	}
	return out, err
}
