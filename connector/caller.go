package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/schemas"
)

// caller makes single calls at the Challenge API and bounds each by the
// account's timeout. It never retries: whether a call may be made again is
// decided above it.
type caller interface {
	// call makes the request's call. A list is read page by page.
	call(ctx context.Context, c outgoing) (answer, error)
	// probe is the cheapest read near the target.
	probe(ctx context.Context, t probeTarget) (answer, error)
	// look lists a factor's challenges, newest first. pay is called before each
	// further page, and its error ends the look.
	look(ctx context.Context, q query, pay func() error) (sighting, error)
}

// outgoing is a call that is to be made.
type outgoing struct {
	req    *schemas.Request
	marker string       // of a create
	pay    func() error // called before each further page of a list; its error ends the list
}

// answer is what a successful call gave, as it came.
type answer struct {
	challenge  json.RawMessage
	challenges []json.RawMessage // of a list, never nil there
	headers    map[string]string // signature headers
	requestID  string
	date       time.Time
	sid        string // of challenge, where who read the answer has said it
}

// Headers of the API that travel in results (API specification: fetch and
// update answers).
const (
	headerSignatureFields    = "Twilio-Verify-Signature-Fields"
	headerChallengeSignature = "Twilio-Verify-Challenge-Signature"
)

// apiCaller is the caller on the real client.
type apiCaller struct{ client *challenge.Client }

func (c apiCaller) call(ctx context.Context, out outgoing) (answer, error) {
	req := out.req
	switch req.Operation {
	case schemas.OperationCreate:
		res, err := c.client.Create(ctx, req.ServiceSID, req.Identity, createParams(req.Create, out.marker))
		return single(res), err
	case schemas.OperationUpdate:
		res, err := c.client.Update(ctx, req.ServiceSID, req.Identity, req.ChallengeSID, challenge.UpdateParams{
			AuthPayload: Secret(req.Update.AuthPayload), Metadata: req.Update.Metadata,
		})
		return single(res), err
	case schemas.OperationFetch:
		res, err := c.client.Fetch(ctx, req.ServiceSID, req.Identity, req.ChallengeSID)
		return single(res), err
	case schemas.OperationList:
		return c.list(ctx, req, out.pay)
	default:
		return answer{}, fmt.Errorf("operation %q has no call", req.Operation)
	}
}

func (c apiCaller) probe(ctx context.Context, t probeTarget) (answer, error) {
	page, err := c.client.List(ctx, t.serviceSID, t.identity, read.ListParams{PageSize: 1})
	if err != nil {
		return answer{}, err
	}
	return answer{date: page.Date}, nil
}

// maxListed bounds the memory that one list takes. Cutting it short without a
// word would be worse than refusing it.
const maxListed = 10_000

var errListTooLong = fmt.Errorf("more than %d challenges match: set list.limit, or page through them", maxListed)

var errPagesRepeat = errors.New("the pages of the list lead back to each other")

// list reads one page where the request names one, else all pages up to its
// limit.
func (c apiCaller) list(ctx context.Context, req *schemas.Request, pay func() error) (answer, error) {
	p := listParams(req.List)
	page, err := c.client.List(ctx, req.ServiceSID, req.Identity, p)
	out := answer{challenges: []json.RawMessage{}}
	seen := map[string]bool{}
	for err == nil {
		if seen[page.Meta.NextPageURL] {
			return answer{}, &read.CallError{Code: read.CodeBadAnswer, Sent: true, Err: errPagesRepeat}
		}
		seen[page.Meta.NextPageURL] = true
		out.requestID, out.date = page.RequestID, page.Date
		for i := range page.Challenges {
			if p.Limit > 0 && len(out.challenges) == p.Limit {
				return out, nil
			}
			if len(out.challenges) == maxListed {
				return answer{}, errListTooLong
			}
			out.challenges = append(out.challenges, page.Challenges[i].Raw)
		}
		one := p.Page != nil || p.PageToken != ""
		if one || page.Meta.NextPageURL == "" || (p.Limit > 0 && len(out.challenges) >= p.Limit) {
			return out, nil
		}
		if err = pay(); err == nil {
			page, err = c.client.NextPage(ctx, page)
		}
	}
	return answer{}, err
}

// look reads pages until one reaches back past the query's moment. Of what it
// sees only challenges with a marker are kept.
func (c apiCaller) look(ctx context.Context, q query, pay func() error) (sighting, error) {
	page, err := c.client.List(ctx, q.serviceSID, q.identity, read.ListParams{
		FactorSID: q.factorSID, Order: read.OrderDesc, PageSize: lookPageSize,
	})
	var out sighting
	for n := 1; err == nil; n++ {
		if n == 1 {
			// What is missing is missing among the newest.
			out.date = page.Date
		}
		out.last, out.requestID = page.Date, page.RequestID
		past := false
		for i := range page.Challenges {
			ch := page.Challenges[i]
			if _, marked := ch.HiddenDetails.Text(schemas.MarkerKey); marked {
				out.challenges = append(out.challenges, ch)
			}
			past = past || isPast(&ch, q.backTo)
		}
		if past || page.Meta.NextPageURL == "" {
			out.complete = true
			return out, nil
		}
		if n >= q.maxPages {
			return out, nil
		}
		if err = pay(); err == nil {
			page, err = c.client.NextPage(ctx, page)
			err = behindTheFirst(err)
		}
	}
	return sighting{}, err
}

// behindTheFirst keeps a refusal of a further page from being taken for what the
// API says of the list: it has just shown that there is one. The look is made again.
func behindTheFirst(err error) error {
	api, ok := errors.AsType[*read.APIError](err)
	if !ok || challenge.Classify(false, err).Class != challenge.ClassRejected {
		return err
	}
	return &read.CallError{
		Code: read.CodeBadAnswer, Sent: true, Status: api.Status, RequestID: api.RequestID,
		Err: fmt.Errorf("a further page of a list is refused: code %d", api.Code),
	}
}

// isPast reports that a list, newest first, shows nothing behind this challenge
// that was created at the moment or later. What orders lists is not published: it is
// taken for the later of both dates, because an old challenge may have been
// updated a moment ago.
func isPast(c *read.Challenge, moment time.Time) bool {
	return c.DateCreated != nil && c.DateCreated.Before(moment) && (c.DateUpdated == nil || c.DateUpdated.Before(moment))
}

func listParams(l *schemas.List) read.ListParams {
	if l == nil {
		return read.ListParams{}
	}
	return read.ListParams{
		FactorSID: l.FactorSID, Status: read.Status(l.Status), Order: read.Order(l.Order),
		PageSize: l.PageSize, Page: l.Page, PageToken: l.PageToken, Limit: l.Limit,
	}
}

// createParams adds the marker to what the event asks for: by it the challenge
// is known again if its answer gets lost.
func createParams(c *schemas.Create, marker string) challenge.CreateParams {
	p := challenge.CreateParams{
		FactorSID: c.FactorSID, AuthPayload: Secret(c.AuthPayload), HiddenDetails: withMark(c.HiddenDetails, marker),
	}
	if c.ExpirationDate != nil {
		p.ExpirationDate = *c.ExpirationDate
	}
	if c.Details != nil {
		p.Message = c.Details.Message
		for _, f := range c.Details.Fields {
			p.Fields = append(p.Fields, read.Field{Label: f.Label, Value: f.Value})
		}
	}
	return p
}

func single(res *read.Response) answer {
	if res == nil {
		return answer{}
	}
	a := answer{challenge: res.Raw, requestID: res.RequestID, date: res.Date, sid: res.Challenge.SID}
	a.keep(headerSignatureFields, res.SignatureFields)
	a.keep(headerChallengeSignature, res.ChallengeSignature)
	return a
}

// keep adds a header that the answer has.
func (a *answer) keep(name, value string) {
	if value == "" {
		return
	}
	if a.headers == nil {
		a.headers = map[string]string{}
	}
	a.headers[name] = value
}
