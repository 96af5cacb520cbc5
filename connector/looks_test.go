package connector

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/schemas"
)

// TestPatience: what proves that nothing was created: two looks that reach back
// far enough, apart, both behind the last send, the later of them behind the
// settle time by our clock and by the API's.
func TestPatience(t *testing.T) {
	const settle, apart = 20 * time.Second, 2 * time.Second
	p := patience{settle: settle, apart: apart}
	type look struct {
		at    time.Duration // after the last send
		ahead time.Duration // of the API's clock
		back  time.Duration // how far it reached, before the record
	}
	far := 2 * creationTolerance
	for _, tc := range []struct {
		name  string
		looks []look
		want  bool
		next  time.Duration // when to look again, where nothing is proven
	}{
		{name: "none"},
		{name: "one, late", looks: []look{{at: 5 * settle, back: far}}, next: 5*settle + apart},
		{name: "two, the later at the settle time", looks: []look{{back: far}, {at: settle, back: far}}, want: true},
		{name: "two, a moment too early", looks: []look{{back: far}, {at: settle - 1, back: far}}, next: settle + time.Second},
		{name: "two, too close", looks: []look{{at: settle, back: far}, {at: settle + apart - 1, back: far}}, next: settle + apart},
		{name: "two, just apart", looks: []look{{at: settle, back: far}, {at: settle + apart, back: far}}, want: true},
		{name: "one of them before the send", looks: []look{{at: -1, back: far}, {at: settle, back: far}}, next: settle + apart},
		{name: "one of them did not reach back", looks: []look{{back: creationTolerance - 1}, {at: settle, back: far}}, next: settle + apart},
		{name: "it just reached back", looks: []look{{back: creationTolerance}, {at: settle, back: far}}, want: true},
		{name: "the later one when the API may have forgotten", looks: []look{{back: far}, {at: maxAge + 1, back: far}}, next: maxAge + apart + 1},
		{name: "proven before, and looked again since", looks: []look{{back: far}, {at: settle, back: far}, {at: 2 * maxAge, back: far}}, want: true},
		{name: "the API's clock is behind", looks: []look{{back: far}, {at: settle, ahead: -time.Second, back: far}}, next: settle + time.Second},
		{name: "the API's clock is ahead", looks: []look{{back: far}, {at: settle - 1, ahead: time.Minute, back: far}}, next: settle + time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				pass(time.Hour)
				sent := time.Now()
				e := &entry{acct: r.acct, uncertain: true, lastSend: sent, since: sent, req: &schemas.Request{}}
				pass(10 * settle)
				var listings []listing
				for _, l := range tc.looks {
					at := sent.Add(l.at)
					listings = append(listings, listing{began: at, asOf: at.Add(l.ahead), until: at.Add(l.ahead), backTo: sent.Add(-l.back)})
				}
				if got := p.absent(e, listings); got != tc.want {
					t.Errorf("absence proven: %t, want %t", got, tc.want)
				}
				now := time.Now()
				want := sent.Add(tc.next)
				if len(listings) == 0 {
					want = now
				}
				if got := p.next(e, listings, now); !tc.want && !got.Equal(want) {
					t.Errorf("looks again %v after the send, want %v", got.Sub(sent), want.Sub(sent))
				}
			})
		})
	}
}
