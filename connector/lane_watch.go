package connector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// sameness is what a log has to do with the one that was worked on before.
type sameness int

const (
	likeSame    sameness = iota
	likeUnknown          // retention has deleted what could tell
	likeShorter          // it ends below
	likeOther            // another record stands there
)

var errNotShown = errors.New("the last record that was answered is not shown yet")

// compareLog looks at the record at an offset that was read before. end is the
// log's, where that tells.
func compareLog(ctx context.Context, src source, offset int64, hash string) (sameness, trace, int64, error) {
	got, err := src.Fetch(ctx, offset, 1, 0)
	gone := kafka.CodeOf(err) == kafka.CodeOutOfRange || err == nil && got.LogStart > offset
	switch {
	case err == nil && len(got.Records) > 0 && got.Records[0].Offset == offset:
		here := hashRecord(&got.Records[0])
		if here.String() == hash {
			return likeSame, trace{offset: offset, hash: here, known: true}, 0, nil
		}
		return likeOther, trace{}, 0, nil
	case err != nil && !gone:
		return likeUnknown, trace{}, 0, err
	case !gone && (len(got.Records) > 0 || got.Next > offset):
		return likeOther, trace{}, 0, nil
	}
	now, err := src.Range(ctx)
	switch {
	case err != nil:
		return likeUnknown, trace{}, 0, err
	case now.End <= offset:
		return likeShorter, trace{}, now.End, nil
	case now.Start > offset:
		return likeUnknown, trace{}, 0, nil
	default:
		// A leader that has only just become one may not show what it has.
		return likeUnknown, trace{}, 0, &kafka.Error{Code: kafka.CodeUnavailable, Op: "fetch", Err: errNotShown}
	}
}

const (
	// blinkOf is how long a lane may not look at its log without making sure that
	// it is still the same: a topic is not deleted and made again any faster.
	blinkOf = time.Second
	// goneAfter is how long a topic may not be found before it counts as deleted.
	// Brokers that start can be late to learn of a topic.
	goneAfter = 30 * time.Second
)

// logWatch reads a lane's log and notices when it is another one. Only the
// lane's fetcher uses it.
type logWatch struct {
	src       source
	topic     string
	partition int
	last      trace     // the last record that was read
	seen      time.Time // when the log was last seen to be there
	doubted   bool      // the last fetch failed
	gone      absence
}

// absence is since when a topic cannot be found, without another answer in
// between. The zero value: it can.
type absence struct{ since time.Time }

// excuse makes unavailable of a topic that cannot be found, as long as that can
// be a broker's fault. Other answers end the absence, and stay as they are.
func (a *absence) excuse(err error) error {
	if kafka.CodeOf(err) != kafka.CodeUnknownTopic {
		a.since = time.Time{}
		return err
	}
	if a.since.IsZero() {
		a.since = time.Now()
	}
	if time.Since(a.since) < goneAfter {
		return &kafka.Error{Code: kafka.CodeUnavailable, Op: "find the topic", Err: err}
	}
	return err
}

// fetch is the source's, with what waiting cannot mend as a *RecoveryError.
func (w *logWatch) fetch(ctx context.Context, offset int64, maxBytes int, maxWait time.Duration) (kafka.Fetched, error) {
	if w.doubted || time.Since(w.seen) > blinkOf {
		if err := w.verify(ctx); err != nil {
			return kafka.Fetched{}, w.judge(err)
		}
	}
	res, err := w.src.Fetch(ctx, offset, maxBytes, maxWait)
	switch {
	case kafka.CodeOf(err) == kafka.CodeOutOfRange:
		err = w.explain(ctx, offset, err)
	case err == nil && res.Missed:
		err = w.verify(ctx)
	}
	if err != nil {
		return kafka.Fetched{}, w.judge(err)
	}
	w.doubted, w.seen, w.gone = false, time.Now(), absence{}
	if n := len(res.Records); n > 0 {
		last := &res.Records[n-1]
		w.last = trace{offset: last.Offset, hash: hashRecord(last), known: true}
	}
	return res, nil
}

// verify compares the last record that was read with what stands there now.
func (w *logWatch) verify(ctx context.Context) error {
	if !w.last.known {
		return nil
	}
	like, _, end, err := compareLog(ctx, w.src, w.last.offset, w.last.hash.String())
	switch {
	case err != nil:
		return err
	case like == likeShorter:
		return w.refuse(RecoveryRecreatedTopic, "the log has come to end at %d, below %d, where it was read: the topic was recreated or truncated. "+
			"The next start tells what to do", end, w.last.offset+1)
	case like == likeOther:
		return w.refuse(RecoveryRecreatedTopic, "the record at %d is not the one that was read before: the topic was recreated. "+
			"Put %q into recovery.accept to start at its first record", w.last.offset, AcceptRecreatedTopic)
	}
	return nil
}

// explain says why an offset is outside the log.
func (w *logWatch) explain(ctx context.Context, offset int64, cause error) error {
	now, err := w.src.Range(ctx)
	switch {
	case err != nil:
		return err
	case offset < now.Start:
		return w.refuse(RecoveryRetention, "retention has deleted everything below %d, the position is %d: records may have gone unanswered. "+
			"To go on without them, set the group's offset to %d", now.Start, offset, now.Start)
	case offset > now.End:
		return w.refuse(RecoveryRecreatedTopic, "the log ends at %d, below the position %d: the topic was recreated or truncated. "+
			"Put %q into recovery.accept to start at its first record", now.End, offset, AcceptRecreatedTopic)
	default:
		return &kafka.Error{Code: kafka.CodeUnavailable, Op: "fetch", Err: fmt.Errorf("%w: %w", errNotShown, cause)}
	}
}

// judge notes a failure.
func (w *logWatch) judge(err error) error {
	w.doubted = true
	return w.gone.excuse(err)
}

func (w *logWatch) refuse(code RecoveryCode, format string, args ...any) error {
	return found{topic: w.topic, partition: w.partition}.refuse(code, format, args...)
}

// recognise compares the last record below the frontier with what was there
// when it was worked on.
func (l *lane) recognise(ctx context.Context, f found, p position, notice string) (position, string, error) {
	if f.remembered == nil || f.remembered.Last == nil || f.remembered.Last.Offset < f.log.Start || f.remembered.Last.Offset >= f.log.End {
		return p, notice, nil
	}
	last := f.remembered.Last
	like, here, end, err := compareLog(ctx, l.src, last.Offset, last.Hash)
	switch {
	case err != nil:
		return p, "", err
	case like == likeShorter:
		return p, "", f.refuse(RecoveryRecreatedTopic, "the log has come to end at %d: the topic was recreated or truncated. "+
			"The next start tells what to do", end)
	case like == likeSame:
		l.lastTrace = here
		return p, notice, nil
	case like == likeUnknown:
		return p, notice, nil // retention was faster
	case f.accepts(RecoveryRecreatedTopic):
		return f.anew(p), "the topic was recreated, which is accepted: starting at the first retained record", nil
	default:
		return p, "", f.refuse(RecoveryRecreatedTopic, "the record at %d is not the one that was answered before: the topic was recreated. "+
			"Put %q into recovery.accept to start at its first record", last.Offset, AcceptRecreatedTopic)
	}
}
