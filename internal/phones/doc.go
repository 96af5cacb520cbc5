// Package phones shows virtual phones in a browser: each push factor with its
// pending challenges and buttons to approve and deny them, and beside them what
// becomes of each request.
//
//   - Whoever presses a button answers as a phone does: internal/device fetches
//     the challenge, signs it and sends the answer to the API.
//   - The page shows message, fields and expiry, as a phone would. Hidden details
//     never leave this package.
//   - A challenge is shown as the API tells it. What was answered or has expired
//     elsewhere says so at the next look, and at the latest when its button is
//     pressed.
//   - Memory is bounded: so many open challenges and past ones of each phone, and
//     so many lines of the flow. What is left out is counted.
//   - Close returns after every goroutine that the page started has ended.
//
// # Who gets in
//
// The page has no login, so it is meant for loopback. Requests whose Host is a
// name other than localhost are refused (DNS rebinding), as is everything that
// changes something unless it comes from the page's own origin and with the
// token that the page was given at this start.
package phones
