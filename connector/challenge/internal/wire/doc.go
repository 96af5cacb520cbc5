// Package wire carries one request of the Challenge API to its server and the
// answer back. It knows nothing of challenges: it knows origins, credentials,
// connections and, above all, whether a request may have left.
//
// Guarantees:
//
//   - Credentials go to the configured origin (scheme, host and port) and
//     nowhere else: no redirect is followed, and a URL of another origin is
//     refused before a connection is made.
//   - A POST is put on a connection once. The only repetition is after a reused
//     connection turned out dead without the request written; see Client.send.
//     A GET may be repeated by net/http.
//   - A Failure says whether the request may have left, and says "it may"
//     wherever that can't be ruled out.
//   - An answer is read to its end within a bound, so that the connection can
//     be used again, or the connection is closed.
//
// # HTTP/1.1 only
//
// The transport that this package makes speaks HTTP/1.1. On HTTP/2 hundreds of
// calls share one connection: when it breaks, each of them has an unknown end,
// and each unknown create must be settled by look-ups. On HTTP/1.1 a broken
// connection concerns one call. It also makes "nothing was written" a plain
// count of bytes on a connection that carries one request at a time.
//
// # Why net/http never sends a POST of ours twice
//
// http.Transport repeats a request by itself when a reused connection fails
// and (*Request).isReplayable holds: GET, HEAD, OPTIONS and TRACE, or any
// method with an Idempotency-Key or X-Idempotency-Key header. It also repeats
// when nothing was written and the body is empty or GetBody can renew it
// (shouldRetryRequest in net/http/transport.go, Go 1.26). Requests made here
// carry neither of the two headers, and a POST with a body has a nil GetBody,
// which http.NewRequest would otherwise set for a bytes.Reader. What is left is
// the POST with an empty body on a dead connection with nothing written, where
// a repetition is harmless.
package wire
