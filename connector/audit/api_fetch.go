package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/ratelimit"
)

// fetched is how the attempts to fetch a challenge ended.
type fetched uint8

const (
	fetchDone fetched = iota
	fetchMissing
	fetchFailed
	fetchStopped // by ctx, or by the budget before the first call
)

const (
	fetchTries    = 4 // where the API is ill
	throttleTries = 10
	firstPause    = 500 * time.Millisecond // doubled each time
	throttlePause = time.Second            // where the API asks for none
)

// caller makes the calls of one account.
type caller struct {
	*comparer
	name    string
	api     Challenges // nil: there is none for this account
	limiter *ratelimit.Limiter
}

// fetch asks the API for a challenge until there is an answer, or no hope for one.
func (c caller) fetch(ctx context.Context, k *known) (*read.Response, fetched) {
	if c.api == nil {
		c.failed(fmt.Sprintf("account %q is not configured", c.name))
		return nil, fetchFailed
	}
	ill, throttled := 0, 0
	for pause := firstPause; ; {
		release, err := c.limiter.Acquire(ctx)
		if err != nil {
			return nil, fetchStopped
		}
		switch paid, ok := c.pay(); {
		case !paid && ill+throttled == 0 && ok:
			release()
			return nil, fetchStopped
		case !ok:
			release()
			c.failed(fmt.Sprintf("the credentials of account %q are refused", c.name))
			return nil, fetchFailed
		case !paid:
			release()
			c.failed("the budget was used up before the API answered")
			return nil, fetchFailed
		}
		res, err := c.api.Fetch(ctx, k.serviceSID, k.identity, k.sid)
		release()
		if ctx.Err() != nil {
			return nil, fetchStopped
		}
		end := endOf(err)
		switch end.what {
		case endAnswered:
			return res, fetchDone
		case endMissing:
			return nil, fetchMissing
		case endRefused:
			c.mu.Lock()
			c.refused[c.name] = true
			c.mu.Unlock()
			c.failed(fmt.Sprintf("the credentials of account %q are refused", c.name))
			return nil, fetchFailed
		case endThrottled:
			c.limiter.Penalize(end.wait)
			if throttled++; throttled < throttleTries {
				continue
			}
		case endIll:
			if ill++; ill < fetchTries {
				if !waited(ctx, pause) {
					return nil, fetchStopped
				}
				pause *= 2
				continue
			}
		}
		c.failed(end.why)
		return nil, fetchFailed
	}
}

// pay takes a call out of the budget; not ok: the account's credentials are refused,
// so it would be wasted.
func (c caller) pay() (paid, ok bool) {
	c.mu.Lock()
	refused := c.refused[c.name]
	c.mu.Unlock()
	if refused {
		return false, false
	}
	return c.take(), true
}

// fetchEnd is how one call ended.
type fetchEnd struct {
	what endOfFetch
	why  string        // a fixed text: what answers say may quote an identity
	wait time.Duration // of endThrottled
}

type endOfFetch uint8

const (
	endAnswered endOfFetch = iota
	endMissing
	endRefused
	endThrottled
	endIll     // worth another try
	endUseless // another try would end alike
)

func endOf(err error) fetchEnd {
	if err == nil {
		return fetchEnd{}
	}
	if api, ok := errors.AsType[*read.APIError](err); ok {
		why := fmt.Sprintf("the API answered with status %d, code %d", api.Status, api.Code)
		switch {
		case api.Status == 404 && api.Code == 20404:
			return fetchEnd{what: endMissing}
		case api.Status == 401, api.Status == 403 && api.Code == 20003:
			return fetchEnd{what: endRefused}
		case api.Status == 429, api.Code == 20429:
			wait := throttlePause
			if api.HasRetryAfter {
				wait = api.RetryAfter
			}
			return fetchEnd{what: endThrottled, why: why, wait: wait}
		case api.Status >= 500, api.Status == 408:
			return fetchEnd{what: endIll, why: why}
		default:
			return fetchEnd{what: endUseless, why: why}
		}
	}
	call, ok := errors.AsType[*read.CallError](err)
	switch {
	case !ok:
		return fetchEnd{what: endIll, why: "the call failed"}
	case call.Code == read.CodeInvalid:
		return fetchEnd{what: endUseless, why: "what was recorded is not enough to fetch the challenge"}
	case call.Code == read.CodeBadAnswer, call.Code == read.CodeTooLarge:
		return fetchEnd{what: endUseless, why: "the API's answer can't be used, or is about another challenge"}
	default:
		return fetchEnd{what: endIll, why: "the API was not reached: " + string(call.Code)}
	}
}

// waited reports false when ctx ended first.
func waited(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
