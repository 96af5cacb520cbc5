package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// fact is what is kept of a request until its answer comes, or of an answer until
// its request does: enough to tell whether they fit. Its fields are exported for a
// saved state.
type fact struct {
	ID   uint64 // hash of the request's id; of a request: 0 where it has none
	Bind uint64 // hash of everything that a result repeats of its request; of a dead letter: what Body is where it holds a hash only
	Body uint64 // hash of the request's value; of a dead letter: of its own
	Time int64  // of a request: its deadline; of an answer: when the last call was sent, or never
	At   uint64 // of an answer: where it stands; of a request: its timestamp
	Op   uint8  // operation, 0: unreadable
	Is   uint8
}

// What a fact is.
const (
	isUnreadable uint8 = 1 << iota // request: breaks the contract
	isForeign                      // request: of another major version, so that a later release may have read it
	isLetter                       // answer: a dead letter
	isUnfailed                     // answer: a result that is neither rejected nor failed
	isFailed                       // answer: a result that comes with a dead letter
)

// never is a fact's time where there is none.
const never = math.MinInt64

// short is a hash that only has to tell apart what meets at the same coordinates,
// or to be looked at once more where it is the same.
func short(parts ...string) uint64 {
	b := make([]byte, 0, 256)
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:])
}

func operationNumber(op schemas.Operation) uint8 {
	switch op {
	case schemas.OperationCreate:
		return 1
	case schemas.OperationFetch:
		return 2
	case schemas.OperationList:
		return 3
	case schemas.OperationUpdate:
		return 4
	default:
		return 0
	}
}

// requestFact is what an audit keeps of a request.
func requestFact(rec *kafka.Record, notAfter time.Duration) fact {
	body := sha256.Sum256(rec.Value)
	f := fact{Body: binary.BigEndian.Uint64(body[:]), Time: never}
	req, _, err := schemas.DecodeRequest(rec.Value)
	if err != nil {
		f.Is = isUnreadable
		if refused, ok := errors.AsType[*schemas.DecodeError](err); ok {
			f.Op = operationNumber(refused.Operation)
			if refused.ID != "" {
				f.ID = short(refused.ID)
			}
			if refused.Code == schemas.CodeVersion {
				f.Is |= isForeign
			}
		}
		return f
	}
	f.ID, f.Op = short(req.ID), operationNumber(req.Operation)
	f.Bind = short(req.Account, req.ServiceSID, req.Identity, req.ChallengeSID)
	deadline := rec.Timestamp.Add(notAfter)
	if req.NotAfter != nil {
		deadline = *req.NotAfter
	}
	if again, faults := schemas.DecodeRedrive(rec.Headers); len(faults) == 0 && again.NotAfter != nil {
		deadline = *again.NotAfter
	}
	if c := req.Create; c != nil && c.ExpirationDate != nil && c.ExpirationDate.Before(deadline) {
		deadline = *c.ExpirationDate
	}
	f.Time = deadline.UnixMilli()
	return f
}

// answered is one result or dead letter, as far as the audit needs it.
type answered struct {
	fact
	partition int   // of the request
	offset    int64 // of the request
	asked     int64 // timestamp of the request, as the answer has it
	stamp     int64 // the answer's own timestamp
	essence   uint32
	beside    bool // a dead letter beside a result

	operation schemas.Operation
	outcome   schemas.Outcome // empty: a dead letter
	class     schemas.Class   // empty: none
	page      *schemas.Page   // nil: it is in one piece
	refused   bool            // it stands in for that page, which the brokers refused
	attempts  int
	completed int64
	sid       uint64 // hash of the SID of a challenge that a create made; 0: it is none
	rawSID    string
	requestID string
}

// resultFact is what an audit keeps of a result, whose id is that of a page.
func resultFact(r *schemas.Result, page int) answered {
	a := answered{
		partition: r.Request.Partition, offset: r.Request.Offset, asked: r.Request.Timestamp.UnixMilli(),
		operation: r.Operation, outcome: r.Outcome, page: r.Page, attempts: r.Attempts, completed: r.Times.Completed.UnixMilli(),
		requestID: r.RequestID,
	}
	a.ID, a.Op = short(r.RequestID), operationNumber(r.Operation)
	a.Bind = short(r.Account, r.ServiceSID, r.Identity, r.ChallengeSID)
	a.Time = never
	if r.Times.Called != nil {
		a.Time = r.Times.Called.UnixMilli()
	}
	code, status := 0, 0
	if r.Error != nil {
		a.class, code, status = r.Error.Class, r.Error.Code, r.Error.Status
	}
	if r.Page == nil && r.Operation == schemas.OperationList && a.class == schemas.ClassTooLarge {
		a.page, a.refused = &schemas.Page{Index: page}, true
	}
	switch {
	case r.Outcome == schemas.OutcomeFailed && a.class != schemas.ClassTooLarge:
		// A list that is too large to publish has failed, and nothing is set aside.
		a.Is |= isFailed
	case r.Outcome != schemas.OutcomeRejected && r.Outcome != schemas.OutcomeFailed:
		a.Is |= isUnfailed
	}
	a.rawSID = challengeSID(r)
	if r.Operation == schemas.OperationCreate && (r.Outcome == schemas.OutcomeSucceeded || r.Outcome == schemas.OutcomeAdopted) && a.rawSID != "" {
		a.sid = short(a.rawSID)
	}
	// What it says, so that two of one request can be compared.
	a.essence = uint32(short(string(r.Outcome), a.rawSID, string(a.class), strconv.Itoa(code), strconv.Itoa(status)))
	return a
}

// challengeSID is the SID of the challenge that a result holds, or of the one that
// a duplicate points to; empty: none.
func challengeSID(r *schemas.Result) string {
	if r.Original != nil {
		return r.Original.ChallengeSID
	}
	if r.Challenge == nil {
		return ""
	}
	// The API writes it first, and a whole challenge takes long to read.
	const first, size = `{"sid":"`, 34
	if end := len(first) + size; len(r.Challenge) > end && string(r.Challenge[:len(first)]) == first && r.Challenge[end] == '"' {
		return string(r.Challenge[len(first):end])
	}
	if c, err := read.ParseChallenge(r.Challenge); err == nil {
		return c.SID
	}
	// One that was too large for an event is shortened.
	var short struct {
		SID string `json:"sid"`
	}
	if json.Unmarshal(r.Challenge, &short) != nil {
		return ""
	}
	return short.SID
}

// letterFact is what an audit keeps of a dead letter.
func letterFact(rec *kafka.Record, d *schemas.DeadLetter) answered {
	a := answered{
		partition: d.Partition, offset: d.Offset, asked: d.Timestamp.UnixMilli(),
		beside: d.HasResult, class: d.Class, attempts: d.Attempts, completed: d.At.UnixMilli(), requestID: d.RequestID,
	}
	a.Is, a.Time = isLetter, never
	if d.RequestID != "" {
		a.ID = short(d.RequestID)
	}
	body := sha256.Sum256(rec.Value)
	a.Body = binary.BigEndian.Uint64(body[:])
	a.Bind = a.Body
	if digits, ok := strings.CutPrefix(string(rec.Value), "sha256:"); ok && !d.Redrivable {
		// Of a record that was too large to keep, its hash is what is left.
		if sum, err := hex.DecodeString(digits); err == nil && len(sum) == len(body) {
			a.Bind = binary.BigEndian.Uint64(sum)
		}
	}
	a.essence = uint32(short("letter", string(d.Class)))
	return a
}

// judge compares a request with an answer of it: every detail of what is wrong.
func judge(req, ans fact, tolerance time.Duration) (found []Detail) {
	if req.ID != 0 && req.ID != ans.ID || req.Is&isUnreadable == 0 && ans.Is&isLetter == 0 && (req.Op != ans.Op || req.Bind != ans.Bind) {
		found = append(found, DetailOtherRequest)
	}
	if ans.Is&isLetter != 0 && req.Body != ans.Body && req.Body != ans.Bind {
		found = append(found, DetailOtherRecord)
	}
	if req.Is&isUnreadable != 0 && req.Is&isForeign == 0 && ans.Is&isUnfailed != 0 {
		found = append(found, DetailNotAnswerable)
	}
	if req.Time != never && ans.Time != never && ans.Time > req.Time+tolerance.Milliseconds() {
		found = append(found, DetailSentLate)
	}
	return found
}

// kindOf is the kind that a detail of judge belongs to.
func kindOf(d Detail) Kind {
	if d == DetailSentLate {
		return KindLate
	}
	return KindConflicting
}
