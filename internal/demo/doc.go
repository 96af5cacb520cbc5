// Package demo runs the whole of Countersign on one machine and proves what
// came of it: an embedded broker, an emulated Challenge API, a host with the
// plugin as a real child process, virtual devices, and a pipeline that sends a
// mixed stream of requests and follows the results.
//
// What it guarantees:
//
//   - The same seed and number of requests give the same stream: the same kinds
//     in the same order, for the same identities, with the same texts. Only what
//     the world decides differs: SIDs, clock times, and which fault hits which
//     call.
//   - What the Summary claims is counted by somebody other than the connector:
//     requests, results, dead letters, what is lost, doubled, out of order or of
//     no known request by reading the topics from end to end after everything
//     has stopped; calls and creates by the emulator. Latency, retries and
//     breaker openings alone are the connector's own word.
//   - Run ends by itself, at the latest at its deadline, and leaves no process,
//     goroutine, listener or file behind, however it ends.
package demo
