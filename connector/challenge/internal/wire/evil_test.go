package wire

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// readRequest reads a whole request from conn; the test ends where it can't.
func readRequest(t *testing.T, conn net.Conn) {
	t.Helper()
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		t.Errorf("the server got no request: %v", err)
		return
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		t.Errorf("the server got no body: %v", err)
	}
}

func say(conn net.Conn, text string) { _, _ = io.WriteString(conn, text) }

// flood writes until the other side closes the connection.
func flood(conn net.Conn, block string) {
	for {
		if _, err := io.WriteString(conn, block); err != nil {
			return
		}
	}
}

// TestServersThatBehaveBadly posts to servers that break off, lie and flood.
// Each is a write whose bytes have left.
func TestServersThatBehaveBadly(t *testing.T) {
	const bound = 1 << 16
	for _, tc := range []struct {
		name   string
		serve  func(conn net.Conn)
		kind   Kind // empty: an answer
		status int  // of the answer, complete or not
	}{
		{"closes before the answer", func(net.Conn) {}, NoAnswer, 0},
		{"resets before the answer", func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, NoAnswer, 0},
		{"closes inside of the headers", func(c net.Conn) { say(c, "HTTP/1.1 201 Created\r\nContent-Le") }, NoAnswer, 0},
		{"closes after the headers", func(c net.Conn) { say(c, "HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n") }, NoAnswer, 201},
		{"gives half a body", func(c net.Conn) { say(c, "HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n{\"si") }, NoAnswer, 201},
		{"breaks a chunk off", func(c net.Conn) { say(c, "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"s") }, NoAnswer, 201},
		{"lies about compression", func(c net.Conn) {
			say(c, "HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}")
		}, NoAnswer, 201},
		{"speaks another protocol", func(c net.Conn) { say(c, "220 mail.example ESMTP\r\n") }, NoAnswer, 0},
		{"sends headers without end", func(c net.Conn) { say(c, "HTTP/1.1 200 OK\r\n"); flood(c, "A: "+strings.Repeat("a", 4096)+"\r\n") }, NoAnswer, 0},
		{"announces too much", func(c net.Conn) {
			say(c, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
			flood(c, strings.Repeat("a", 4096))
		}, TooLarge, 200},
		{"sends chunks without end", func(c net.Conn) {
			say(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			flood(c, "1000\r\n"+strings.Repeat("a", 4096)+"\r\n")
		}, TooLarge, 200},
		{"fails without end", func(c net.Conn) {
			say(c, "HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n")
			flood(c, "1000\r\n"+strings.Repeat("a", 4096)+"\r\n")
		}, "", 503},
		{"breaks an error off", func(c net.Conn) { say(c, "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 99\r\n\r\n{") }, "", 429},
		{"informs first", func(c net.Conn) {
			say(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}")
		}, "", 201},
		{"switches protocols", func(c net.Conn) {
			say(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\nhello")
			_, _ = io.Copy(io.Discard, c) // keeps the connection open: a client that reads it would hang
		}, "", 101},
	} {
		t.Run(tc.name, func(t *testing.T) {
			base := rawServer(t, func(conn net.Conn, n int) {
				if n > 0 {
					t.Error("the request was sent again")
				}
				readRequest(t, conn)
				tc.serve(conn)
			})
			c := newClient(t, base, Config{MaxBodyBytes: bound})
			u, f := c.Challenges(testService, testIdentity, "")
			if f != nil {
				t.Fatal(f)
			}
			a, f := c.Post(t.Context(), u, map[string][]string{"FactorSid": {"YF"}})
			if tc.kind == "" {
				if f != nil || a.Status != tc.status || int64(len(a.Body)) > bound {
					t.Fatalf("got %+v, %v, want an answer with status %d", a, f, tc.status)
				}
				return
			}
			if f == nil || f.Kind != tc.kind || !f.Sent {
				t.Fatalf("got %+v, %v, want %s, sent", a, f, tc.kind)
			}
			if got := statusOf(f.Answer); got != tc.status {
				t.Errorf("the failure keeps status %d, want %d", got, tc.status)
			}
		})
	}
}

func statusOf(a *Answer) int {
	if a == nil {
		return 0
	}
	return a.Status
}
