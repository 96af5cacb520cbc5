// Package read is the reading half of a client of the Challenge API (Verify
// v2): it fetches and lists challenges and can do nothing else.
//
// Guarantees:
//
//   - Nothing but GET leaves through it: the HTTP layer that it builds on
//     refuses every other method. A program that imports this package and not
//     its parent can't create, answer or change a challenge.
//   - Credentials go to the configured origin only. No redirect is followed,
//     and a page URL of another origin is an error before any connection.
//   - Absence is proven, not assumed: a list answer without its challenges or
//     without a word on the next page is an error, never an empty list.
//   - An answer of another challenge, service or identity than the one asked
//     for is an error.
//   - Every error is an *APIError (the API answered, but not with success) or a
//     *CallError (no usable answer), whose Sent says whether the request may
//     have left.
//
// A Client is safe for concurrent use and starts no goroutine that outlives a
// call, other than those of its idle connections, which CloseIdleConnections
// ends. It retries nothing, except that net/http asks once more where a kept
// connection dies before the answer begins.
package read
