package demo

// Defaults of Options.
const (
	DefaultRequests = 200
	DefaultPeople   = 36
)
