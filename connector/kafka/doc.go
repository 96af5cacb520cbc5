// Package kafka is Countersign's view of Kafka: a read_committed source for one
// partition, a consumer group whose members drain before they leave, a producer
// and offset commits with metadata. It is the only importer of kafka-go and
// exposes none of kafka-go's types.
//
// Guarantees:
//   - Fetch returns committed data records only. Records of aborted
//     transactions and control records are filtered, and offsets that hold
//     nothing, however many, are stepped over.
//   - An offset outside the log is an error that says so, never a silent jump.
//   - A Session's commits carry its generation and member id, so a member that
//     lost its partitions cannot move their offsets.
//   - RunGroup waits for every session function before it lets the group go on.
package kafka
