package read

import (
	"fmt"
	"net/http"
)

// getOnly lets GET requests through and nothing else. A Client's HTTP layer is
// wrapped in it, so that no mistake above it can write.
type getOnly struct{ next http.RoundTripper }

// methodError is the refusal of a method; its text is the method.
type methodError string

func (e methodError) Error() string {
	return fmt.Sprintf("a reading client sends no %s request", string(e))
}

func (t getOnly) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet || (req.Body != nil && req.Body != http.NoBody) {
		if req.Body != nil {
			_ = req.Body.Close() // a RoundTripper closes the body in any case
		}
		return nil, methodError(req.Method)
	}
	return t.next.RoundTrip(req)
}

func (t getOnly) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
