package emulator

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"sync"
)

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// respond writes the answer with the headers that every answer of the API has.
func (x *exchange) respond(a answer, p plan) {
	buf, _ := buffers.Get().(*bytes.Buffer)
	buf.Reset()
	defer buffers.Put(buf)
	kind := "application/json"
	switch body := a.body.(type) {
	case nil:
	case string:
		kind = "text/html"
		buf.WriteString(body)
	case problemBody:
		kind = "application/problem+json"
		encode(buf, body)
	default:
		encode(buf, body)
	}
	now := x.e.cfg.Now()
	h := x.w.Header()
	h.Set("Content-Type", kind)
	h.Set("Date", now.UTC().Format(http.TimeFormat))
	if !x.e.cfg.Rules.OmitTwilioHeaders {
		h.Set("Twilio-Request-Id", newSID("RQ"))
		h.Set("Twilio-Request-Duration", seconds(now.Sub(x.start)))
		h.Set("Twilio-Concurrent-Requests", strconv.FormatInt(x.e.stats.inflight.now(), 10))
	} else {
		x.decided("omit-twilio-headers")
	}
	for _, pair := range a.header {
		h.Set(pair[0], pair[1])
	}
	if x.e.outage.draining() {
		h.Set("Connection", "close")
	}
	x.send(a.status, buf.Bytes(), p)
}

func encode(buf *bytes.Buffer, body any) {
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		// Every body is made of strings, numbers and valid raw JSON.
		panic("emulator: answer can't be encoded: " + err.Error())
	}
}

// send writes status and body, with a pause in the middle where one is
// planned, and notes whether the answer to a create left.
func (x *exchange) send(status int, body []byte, p plan) {
	if x.line.isCut() {
		x.reset()
		return
	}
	if status != http.StatusNoContent {
		x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	// Whoever reads the answer must find the create answered, so it is noted
	// first and taken back where the answer can't leave.
	x.e.log.setAnswered(x.logged, x.r.Context().Err() == nil)
	x.w.WriteHeader(status)
	x.e.stats.answered(status)
	if p.slowBody && len(body) > 1 {
		x.e.stats.fault(FaultSlowBody)
		half := len(body) / 2
		_, _ = x.w.Write(body[:half]) // a caller that has gone shows below
		_ = http.NewResponseController(x.w).Flush()
		x.e.sleep(x.e.faults.Load().SlowBody)
		body = body[half:]
	}
	_, err := x.w.Write(body)
	if err == nil && x.logged != 0 && x.line != nil {
		// The whole answer goes to the kernel here, while failure can still be seen.
		err = http.NewResponseController(x.w).Flush()
	}
	if err != nil || x.line.isCut() {
		x.e.log.setAnswered(x.logged, false)
	}
}

// reset drops the connection so that the caller sees a reset, not an end.
func (x *exchange) reset() {
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		// Not a connection that can be taken over (a recorder, HTTP/2): net/http
		// drops it in its own way.
		panic(http.ErrAbortHandler)
	}
	abort(conn)
}

// abort closes a connection with a TCP reset where it has one.
func abort(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(seconds int) error }); ok {
		_ = tcp.SetLinger(0) // it fails only on a connection that is closed already
	}
	_ = conn.Close()
}
