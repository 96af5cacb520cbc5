// Package kafka is Countersign's view of Kafka: a read_committed source for one
// partition, a consumer group whose members drain before they leave, producers,
// transactions and offset commits with metadata. It is the only importer of kafka-go and
// exposes none of kafka-go's types.
//
// Guarantees:
//   - Fetch returns committed data records only. Records of aborted
//     transactions and control records are filtered, and offsets that hold
//     nothing, however many, are stepped over.
//   - An offset outside the log is an error that says so, never a silent jump.
//   - A Session's commits carry its generation and member id, so a member that
//     lost its partitions cannot move their offsets.
//   - RunGroup waits for every session function before it lets the group go
//     on. A member has one generation at a time, and is told of its end.
//   - A transaction that Session.Transact calls committed is, and one that it
//     reports as refused or not written is not, whichever requests and answers
//     were lost on the way. A request that arrives late counts for nothing.
//   - A Session that has been fenced writes nothing any more.
//   - A Lease is measured from heartbeats that were answered while no rebalance
//     was under way, so it ends before the group can give a partition away.
//   - CodeCanceled is the caller's end or the Client's. A broker that does not
//     answer is CodeUnavailable, so that it is waited for and not given up.
//   - Close leaves nothing behind: no connection, no request, no message that
//     is still being sent.
package kafka
