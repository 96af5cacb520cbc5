// Package challenge is a client of the Challenge API (Verify v2) for programs
// that must know how a call ended. It embeds the reading client of package read
// and adds the two calls that write: Create and Update.
//
// Guarantees, beside those of package read:
//
//   - A create or update goes out once. Nothing is repeated whose bytes may
//     have left: not by this package, not by net/http, not by a redirect. No
//     Idempotency-Key is sent: the API has none, and net/http would take it for
//     leave to repeat.
//   - What can't be right is refused before anything is sent: SIDs, the
//     identity, and every length that the API documents.
//   - Classify turns the end of any call, reading or writing, into one of seven
//     classes, and says "ambiguous" of a write wherever its effect isn't certain.
//
// Reading and writing calls share one pool of HTTP/1.1 connections. A Client is
// safe for concurrent use.
package challenge
