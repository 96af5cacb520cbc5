// Package clients holds the suites in which programs of others judge the
// emulator, and through it what our own client sends: twilio-go, which runs
// always, and npm twilio and PyPI twilio, which make clients installs. All three
// run the same cases, each with its own client's API. Beside them our client is
// held against twilio-go, request by request.
package clients
