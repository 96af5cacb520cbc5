package ratelimit

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// never is longer than any wait that is worth an alarm; after it the wait is
// computed anew.
const never = time.Hour

// bucket holds this instance's share of the group's tokens. It has no lock and
// no clock of its own: the Limiter brings both.
type bucket struct {
	perSecond float64 // of the group; zero: no limit
	burst     int     // of the group
	owned     int
	total     int
	until     time.Time     // end of the penalty; nothing in tokens is older
	tokens    *rate.Limiter // nil without a share or without a limit
}

// rate is the share of the rate.
func (b *bucket) rate() float64 {
	if b.owned == 0 {
		return 0
	}
	return b.perSecond * float64(b.owned) / float64(b.total)
}

// capacity is the share of the burst, rounded down so that the parts never
// exceed the whole, but one token at least: below that no call could ever be made.
func (b *bucket) capacity() int {
	return max(1, int(int64(b.burst)*int64(b.owned)/int64(b.total)))
}

// take removes a token if there is one.
func (b *bucket) take(now time.Time) bool {
	if b.owned == 0 || now.Before(b.until) {
		return false
	}
	return b.tokens == nil || b.tokens.AllowN(now, 1)
}

// wait tells after what time take will find a token; without a share it can't
// tell, and ok is false.
func (b *bucket) wait(now time.Time) (d time.Duration, ok bool) {
	if b.owned == 0 {
		return 0, false
	}
	penalty := min(max(0, b.until.Sub(now)), never)
	if b.tokens == nil {
		return penalty, true
	}
	missing := 1 - b.tokens.TokensAt(now.Add(penalty))
	if missing <= 0 {
		return penalty, true
	}
	// Rounded up: an alarm that rings a nanosecond early would ring again at once.
	refill := math.Ceil(missing / float64(b.tokens.Limit()) * float64(time.Second))
	return penalty + time.Duration(min(refill, float64(never))), true
}

// share changes the part of the group's tokens that is this instance's. Tokens
// at hand stay as far as the new capacity holds them; none are added.
func (b *bucket) share(now time.Time, owned, total int) {
	had := b.owned > 0
	b.total = max(total, 1)
	b.owned = min(max(owned, 0), b.total)
	switch at := b.effective(now); {
	case b.owned == 0 || b.perSecond == 0:
		b.tokens = nil
	case !had:
		b.empty(at)
	default:
		b.tokens.SetLimitAt(at, rate.Limit(b.rate()))
		b.tokens.SetBurstAt(at, b.capacity())
	}
}

// penalize stops the bucket until now+d, or later if an earlier penalty says so.
func (b *bucket) penalize(now time.Time, d time.Duration) {
	if until := now.Add(d); until.After(b.until) && d > 0 {
		b.until = until
		if b.tokens != nil {
			b.empty(until)
		}
	}
}

// effective is the time at which the bucket may be touched: rate.Limiter would
// take a time before its last one as an order to turn back its clock, and count
// the time between twice.
func (b *bucket) effective(now time.Time) time.Time {
	if now.Before(b.until) {
		return b.until
	}
	return now
}

// empty makes a bucket without a token at the time at.
func (b *bucket) empty(at time.Time) {
	b.tokens = rate.NewLimiter(rate.Limit(b.rate()), b.capacity())
	b.tokens.AllowN(at, b.capacity())
}
