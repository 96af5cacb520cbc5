// Package connector consumes challenge-request events from Kafka, calls the
// Challenge API of Verify v2 and publishes result events. A program embeds it
// with New and Run; a host loads it as a plugin through package plugin.
//
// Guarantees:
//   - Every committed request record that is read gets a result, or a dead
//     letter where no result can be formed, before its offset is committed.
//     A commit never passes an unfinished record.
//   - Records of one key complete in order; different keys never wait for each
//     other.
//   - A create or update whose call ended in doubt, in this process or an
//     earlier owner's, is looked for at the API before it is called again. Where
//     the API can't tell, it ends as failed, class ambiguous, with a dead letter.
//   - A create or update whose id has succeeded within the ledger's horizon, in
//     the same partition, is not called again.
//   - Nothing is handed to the HTTP client past its not_after or
//     expiration_date; both are looked at right before, by the API's clock.
//   - An open circuit breaker pauses intake and stops attempt clocks. Only a
//     read probes; only not_after ends a record.
//   - On the end of Run's context no new call begins, what is in flight is
//     finished and committed, and then the group is left.
//
// Delivery is exactly once for read_committed readers: a transaction holds
// results, dead letters, ledger entries, the position record and the offset. What
// a process did not commit, because it died, was aborted or could not commit
// within its drain timeout, the next owner takes up; what may have been called, it
// looks for first. DeliveryAtLeastOnce does without transactions: after a crash a
// result can be published twice.
package connector
