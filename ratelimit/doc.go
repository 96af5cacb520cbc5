// Package ratelimit bounds the calls that one account of the Challenge API
// receives from a whole consumer group, without any coordinator but Kafka.
//
// A [Limiter] is one instance's part of a limit that belongs to the group. It
// is a token bucket (golang.org/x/time/rate) of the instance's share of the
// rate, a cap on the calls under way, and a penalty that stops both. It
// guarantees:
//
//   - Token and slot are taken together, at the moment Acquire returns. No slot
//     idles while its holder waits for a token, no token goes stale while its
//     holder waits for a slot, and a context that ends first has taken nothing.
//   - Tokens are never minted. A bucket starts empty, and what a share gains in
//     a rebalance starts empty; what it loses is cut off. So, counted over all
//     members, all rebalances and all restarts, the calls since any start are at
//     most rate·t + burst.
//   - In any window of length t, however chosen, the calls are at most
//     rate·t + burst, plus one for each member whose share of the burst is less
//     than one token: such a member must still be able to save up for one call.
//     With burst ≥ partitions there is no such member.
//   - Waiters are served in the order of their arrival, one wake-up each.
//   - A penalty empties the bucket, so its end is followed by the normal pace and
//     not by a burst.
//
// The bounds hold if a share is given up before another member takes it. A
// consumer group works like that when each member calls SetShare(0, n) as its
// generation ends, before it rejoins.
package ratelimit
