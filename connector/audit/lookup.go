package audit

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/secret"
	"github.com/countersign/countersign/schemas"
)

// mask hides identities behind a keyed hash, and says which key it was.
type mask struct {
	key  []byte
	name string
}

// unkeyed stands in where no key is configured.
const unkeyed = "countersign audit: no identity key is configured"

func newMask(key secret.String) mask {
	text := cmp.Or(key.Reveal(), unkeyed)
	named := sha256.Sum256([]byte("countersign audit identity key\x00" + text))
	return mask{key: []byte(text), name: hex.EncodeToString(named[:4])}
}

// IdentityKeyName is what reports that hash identities with a key say of it in
// Window.IdentityKey. Empty stands for the key that everybody knows.
func IdentityKeyName(key secret.String) string { return newMask(key).name }

// of is the hash of an identity. The API looks identities up in either case.
func (m mask) of(identity string) string {
	if identity == "" {
		return ""
	}
	h := hmac.New(sha256.New, m.key)
	h.Write([]byte(strings.ToLower(identity)))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// lookup makes findings of what was found, for which it reads the records that they
// are about.
type lookup struct {
	join *join
	mask mask
}

func (l *lookup) finding(ctx context.Context, kind Kind, p proto) (Finding, error) {
	f := Finding{Kind: kind, Detail: p.Detail, Span: p.Span, Count: p.Count, ChallengeSID: p.SID}
	for _, at := range p.At {
		number, offset := unplace(at)
		s := l.join.streams[number]
		f.Records = append(f.Records, Place{Topic: l.join.topic(s.Role), Partition: s.Span.Partition, Offset: offset})
	}
	if p.Offset >= 0 {
		req, err := l.request(ctx, p.Partition, p.Offset, f.Records)
		if err != nil {
			return f, err
		}
		f.Request = req
	}
	f.Text = sentence(f, p.Text)
	return f, nil
}

// mostLetters of one request are named.
const mostLetters = 10

// placeLetters adds to findings about dead letters beside a result where these stand.
// The dead letters are read once more for it: nearly all of them are in order, so that
// their places are not remembered.
func (j *join) placeLetters(ctx context.Context, listed []proto) error {
	places := map[where][]uint64{}
	ofLetters := func(p *proto) bool {
		return p.Detail == DetailLetterTwice || p.Detail == DetailLetterUnfailed || p.Detail == DetailNoRequest && len(p.At) == 0
	}
	for i := range listed {
		if p := &listed[i]; ofLetters(p) {
			places[where{p.Partition, p.Offset}] = nil
		}
	}
	if len(places) == 0 {
		return nil
	}
	reader := j.newReader()
	_, err := j.again(ctx, letters, func(number int, rec *kafka.Record) bool {
		if reader.leftOut(rec) {
			return true
		}
		at := place(number, rec.Offset)
		a, problem := reader.answer(letters, rec, at)
		if problem != nil || !a.beside {
			return true
		}
		by := where{a.partition, a.offset}
		if known, wanted := places[by]; wanted && len(known) < mostLetters {
			places[by] = append(known, at)
		}
		return true
	})
	for i := range listed {
		if p := &listed[i]; ofLetters(p) {
			p.At = slices.Concat(p.At, places[where{p.Partition, p.Offset}])
		}
	}
	return err
}

// request is what can be said of a request: by its record, or by an answer to it.
func (l *lookup) request(ctx context.Context, partition int, offset int64, answers []Place) (*Request, error) {
	out := &Request{Place: Place{Topic: l.join.cfg.Topics.Requests, Partition: partition, Offset: offset}}
	rec, err := l.join.recordAt(ctx, out.Topic, partition, offset)
	if err != nil {
		return nil, err
	}
	identity := ""
	switch {
	case rec != nil:
		at := timeOf(stampOf(rec.Timestamp))
		out.Timestamp = &at
		out.ID, out.Operation, identity = ofRequest(rec)
	case len(answers) > 0:
		a := answers[0]
		if rec, err = l.join.recordAt(ctx, a.Topic, a.Partition, a.Offset); err != nil {
			return nil, err
		}
		out.ID, out.Operation, identity = ofAnswer(rec, a.Topic == l.join.cfg.Topics.DeadLetters)
	}
	out.Identity = identity
	if !l.join.cfg.Reveal {
		out.Identity = l.mask.of(identity)
	}
	return out, nil
}

func ofRequest(rec *kafka.Record) (id string, op schemas.Operation, identity string) {
	req, _, err := schemas.DecodeRequest(rec.Value)
	if err == nil {
		return req.ID, req.Operation, req.Identity
	}
	if refused, ok := errors.AsType[*schemas.DecodeError](err); ok {
		return refused.ID, refused.Operation, ""
	}
	return "", "", ""
}

func ofAnswer(rec *kafka.Record, letter bool) (id string, op schemas.Operation, identity string) {
	if rec == nil {
		return "", "", ""
	}
	if letter {
		if d, _, err := schemas.DecodeDeadLetter(rec.Headers); err == nil {
			id = d.RequestID
		}
		return id, "", ""
	}
	if r, _, err := schemas.DecodeResult(rec.Value); err == nil {
		return r.RequestID, r.Operation, r.Identity
	}
	return "", "", ""
}

// sentence says a finding to a person.
func sentence(f Finding, more string) string {
	at := func(i int) string {
		if i >= len(f.Records) {
			return "an answer"
		}
		r := f.Records[i]
		return coordinates(r.Topic, r.Partition, r.Offset)
	}
	switch f.Detail {
	case DetailNoAnswer:
		return "The group has worked past this request, and there is neither a result nor a dead letter of it."
	case DetailNoPage:
		return fmt.Sprintf("Of the list's result, %s missing.", records(f.Count))
	case DetailNoDeadLetter:
		return "It failed, by the result at " + at(0) + ", and there is no dead letter of it."
	case DetailAnsweredTwice:
		return "The answer at " + at(1) + " says again what the one at " + at(0) + " says."
	case DetailLetterTwice:
		if f.Count == 1 {
			return "Beside the first dead letter there is 1 more."
		}
		return fmt.Sprintf("Beside the first dead letter there are %d more.", f.Count)
	case DetailIDTwice:
		return "A challenge was made for this request, and another for an earlier request with the same id: results at " + at(0) + " and " + at(1) + ". Beyond the ledger's horizon, or in two partitions, ids are not compared."
	case DetailSIDTwice:
		return "The results at " + at(0) + " and " + at(1) + " answer two requests with the same challenge."
	case DetailTwoAnswers:
		return "The answers at " + at(0) + " and " + at(1) + " contradict each other."
	case DetailOtherRequest:
		return "The answer at " + at(0) + " repeats another request than the one that stands there."
	case DetailOtherRecord:
		return "The dead letter at " + at(0) + " holds another record than the request."
	case DetailNotAnswerable:
		return "The request breaks the contract, and the result at " + at(0) + " says that it was carried out."
	case DetailLetterUnfailed:
		letter := "A dead letter"
		if len(f.Records) > 1 {
			letter = "The dead letter at " + at(1)
		}
		return letter + " says that it failed; the result at " + at(0) + " does not."
	case DetailSentLate:
		return "By the answer at " + at(0) + ", its last call was sent behind its deadline."
	case DetailNoRequest:
		if len(f.Records) == 0 {
			return "A dead letter is of a request that is not there."
		}
		return "The answer at " + at(0) + " is of a request that is not there."
	case DetailElsewhere, DetailOtherGroup:
		return "The answer at " + at(0) + ": " + more + "."
	case DetailNotAResult, DetailNotALetter:
		return "The record at " + at(0) + " breaks the contract: " + more + "."
	case DetailRetention:
		return fmt.Sprintf("The log starts at offset %d: what stood before is deleted, and nothing can be said of it.", f.Span.To)
	case DetailAbsent:
		return fmt.Sprintf("At %s there is no record of any kind. Compaction or a deletion leaves such a gap.", counted(f.Count, "offset"))
	case DetailAnswersGone:
		if len(f.Records) > 1 {
			return fmt.Sprintf("While the audit ran, records from %s to %s were deleted, and with them what %s had to be compared with.", at(0), at(1), counted(f.Count, "answer"))
		}
		if f.Span == nil {
			return fmt.Sprintf("While the audit ran, records were deleted that %s had to be compared with, or these themselves.", counted(f.Count, "answer"))
		}
		return fmt.Sprintf("Of %s the answer, or what belongs to it, may have been deleted with the start of the results' or dead letters' log.", counted(f.Count, "request"))
	case DetailNotWorkedOff:
		return fmt.Sprintf("The group has not committed offset %d and what follows.", f.Span.From)
	case DetailNotEnded:
		return "The end of the window is ahead: more requests may come."
	default:
		return more
	}
}

func records(n int64) string {
	if n == 1 {
		return "1 record is"
	}
	return fmt.Sprintf("%d records are", n)
}
