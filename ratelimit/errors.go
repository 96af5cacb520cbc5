package ratelimit

// Code says what an [Error] is about. The set is closed.
type Code string

// The codes.
const (
	CodeRate        Code = "rate"        // Config.PerSecond is negative or not a number
	CodeBurst       Code = "burst"       // Config.Burst is negative or above MaxBurst
	CodeConcurrency Code = "concurrency" // Config.Concurrency is negative
	CodeEnded       Code = "ended"       // the context ended before the call's turn came
)

// Error is the only type of error that this package returns.
type Error struct {
	Code    Code
	Message string
	// Err is the context's error where Code is CodeEnded, otherwise nil.
	Err error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return "ratelimit: " + e.Message + ": " + e.Err.Error()
	}
	return "ratelimit: " + e.Message
}

// Unwrap lets errors.Is find context.Canceled and context.DeadlineExceeded.
func (e *Error) Unwrap() error { return e.Err }
