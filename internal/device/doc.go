// Package device plays the phones: virtual push devices and TOTP
// authenticators that enrol with the Challenge API over HTTP and answer its
// challenges as the mobile SDKs do.
//
//   - A private key is made in Enrol and never leaves its Device.
//   - A device answers only what it has fetched itself, is pending, and came with the
//     Twilio-Verify-Signature-Fields header; it signs the named properties as it
//     received them, and then reads the challenge again to see its answer stand.
//   - The signing and code functions are pure: the same input gives a payload for the same claims.
//   - No goroutine outlives a call: Run works in its caller's and returns when
//     its context ends.
//
// Facts come from the API's description and the public mobile SDKs; nothing of
// the emulator is used, so that each can judge the other.
package device
