package schemas

// shape is one object of the contract: its field names, in the order in which
// they are written, and the shapes of those fields that are objects, or arrays
// of objects, themselves.
type shape struct {
	names []string
	inner map[string]*shape
}

// maxNames is how many fields the largest shape has.
const maxNames = 20

// index returns the position of a name, or -1.
func (s *shape) index(name []byte) int {
	for i, n := range s.names {
		if string(name) == n {
			return i
		}
	}
	return -1
}

var (
	fieldShape   = shape{names: []string{"label", "value"}}
	detailsShape = shape{
		names: []string{"message", "fields"},
		inner: map[string]*shape{"fields": &fieldShape},
	}
	createShape = shape{
		names: []string{"factor_sid", "expiration_date", "details", "hidden_details", "auth_payload"},
		inner: map[string]*shape{"details": &detailsShape},
	}
	updateShape = shape{names: []string{"auth_payload", "metadata"}}
	listShape   = shape{names: []string{
		"factor_sid", "status", "order", "page_size", "page", "page_token", "limit",
	}}
	requestShape = shape{
		names: []string{
			"version", "id", "operation", "account", "service_sid", "identity",
			"challenge_sid", "not_after", "create", "update", "list",
		},
		inner: map[string]*shape{"create": &createShape, "update": &updateShape, "list": &listShape},
	}

	faultShape = shape{names: []string{"path", "message"}}
	errorShape = shape{
		names: []string{"class", "code", "message", "more_info", "status", "limit", "faults"},
		inner: map[string]*shape{"faults": &faultShape},
	}
	originalShape = shape{names: []string{
		"result_id", "challenge_sid", "outcome", "topic", "partition", "offset",
	}}
	coordinatesShape = shape{names: []string{"topic", "partition", "offset", "timestamp"}}
	timesShape       = shape{names: []string{"received", "called", "completed"}}
	pageShape        = shape{names: []string{"index", "last"}}
	resultShape      = shape{
		names: []string{
			"version", "id", "request_id", "operation", "outcome", "account", "service_sid",
			"identity", "challenge_sid", "error", "original", "attempts", "request", "times",
			"api_request_id", "page", "headers", "challenge", "challenges",
		},
		inner: map[string]*shape{
			"error": &errorShape, "original": &originalShape, "request": &coordinatesShape,
			"times": &timesShape, "page": &pageShape,
		},
	}
)
