// Package emulator is a stateful Challenge API (Verify v2) for demos and tests.
//
// It is written from the API's published description alone and imports none of
// our client code, so that it can judge that client, and the official client
// libraries, independently. What it guarantees:
//
//   - Every documented limit is enforced: a value at the bound is accepted, one
//     beyond it is refused with the documented error code and HTTP status.
//     Where the description leaves the behaviour open, Rules holds a switch, and
//     Stats.Rules counts the answers that it decided.
//   - A challenge lives its whole life: pending, then approved or denied by a
//     verified payload, or expired by the clock. Push payloads are checked as
//     ES256 signatures of the factor's key over the stored challenge; TOTP codes
//     by RFC 6238. An answered or expired challenge never changes
//     again, but for its metadata where Rules say so.
//   - Passkeys challenges are made by POST Passkeys/Challenges and shown by the
//     form API, which makes and approves none. They are never approved: the
//     emulator verifies no WebAuthn assertion, and says so.
//   - Nothing is made twice by the emulator itself, and everything made is
//     told: Created lists each challenge, whether or not its answer left.
//   - Faults happen only where Faults, a script or an outage asks for them. Given the same seed and
//     the same order of calls, the same calls are hit.
//   - Time is Config.Now for everything the API can show, and timers for what
//     only a caller can feel (latency, outages). Through Handler it runs in a
//     testing/synctest bubble as well.
//   - Close returns after every goroutine that the emulator started has ended.
//
// # Who is a device
//
// A request whose Basic user is "token" comes from a device, as the mobile SDKs
// send it: the password is a JWT that the factor's key signed, or an access
// token from POST AccessTokens when a factor is created. Device requests are
// spared by Faults unless Faults.Devices is set; an outage spares nobody.
//
// # Administration
//
// The same listener answers under /_emulator/, without credentials, faults or
// counting:
//
//	GET  /_emulator/healthz                             200 while it serves
//	GET  /_emulator/stats                               Stats
//	GET  /_emulator/created?after=n&limit=m             Created entries above n, next_after and last
//	GET  /_emulator/faults                              Faults in force
//	POST /_emulator/faults                              replaces them (JSON body)
//	POST /_emulator/outage?for=20s&kind=graceful|hard|503
//	DELETE /_emulator/outage                            ends an outage that still lets requests in
//
// # Memory
//
// Challenges stay until their entity is deleted, about one kilobyte each, those that
// Faults.PurgeAge hides too. The log of created challenges grows by about 400 bytes each unless Config.LogLimit caps it.
package emulator
