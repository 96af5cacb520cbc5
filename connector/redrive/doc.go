// Package redrive makes requests again out of dead letters.
//
// Survey says what would be done, Run does it. Both read the dead letters that
// were there when they began, under read_committed, and never those that a
// redriven request turns into meanwhile.
//
// What was redriven is noted in a journal, a compacted topic with one partition:
// one small mark for each dead letter, with its coordinates and a fingerprint.
// So a filter may differ from run to run, and what it passed over stays there to
// be picked. The journal's one partition is also the lock: a run is a member of a
// consumer group of that topic, and only the member that owns the partition sends.
//
// A request goes back to the partition that it came from, because ids are
// deduplicated by partition, and keeps its id.
package redrive
