package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// refusal says why a broker cannot be connected to although it is there. It
// names what was tried, and no secret.
type refusal struct {
	code   ErrorCode
	broker string // host:port
	text   string // what it does, of "it"
	err    error  // may be nil
}

// Error implements error.
func (r *refusal) Error() string { return "broker " + r.broker + ": " + r.reason() }

// reason is the same for all brokers that refuse for it.
func (r *refusal) reason() string {
	if r.err == nil {
		return r.text
	}
	return r.text + ": " + r.err.Error()
}

// Unwrap gives the cause.
func (r *refusal) Unwrap() error { return r.err }

// tlsRefusal makes a refusal of what ended a handshake or the first exchange
// after it, and keeps one that is one already. A broker that has accepted this
// client before and hangs up restarts, and refuses nothing.
func tlsRefusal(d *door, err error, shown *shown) error {
	if _, already := errors.AsType[*refusal](err); already {
		return err
	}
	refused := func(code ErrorCode, format string, args ...any) error {
		return &refusal{code: code, broker: d.address, text: fmt.Sprintf(format, args...), err: err}
	}
	if _, is := errors.AsType[tls.RecordHeaderError](err); is {
		return refused(CodeTLS, "it does not speak TLS on this port")
	}
	if _, is := errors.AsType[*tls.CertificateVerificationError](err); is {
		return refused(CodeTLS, "its certificate is not accepted%s", certificateAdvice(err))
	}
	_, alert := errors.AsType[tls.AlertError](err)
	switch remote, is := errors.AsType[*net.OpError](err); {
	case (alert || is && remote.Op == "remote error") && shown.asked && !shown.has:
		return refused(CodeTLS, "it wants a client certificate, and none is configured")
	case (alert || is && remote.Op == "remote error") && shown.asked:
		return refused(CodeTLS, "it refuses the client certificate")
	case alert || is && remote.Op == "remote error":
		return refused(CodeTLS, "it refuses the TLS handshake")
	case errors.Is(err, context.DeadlineExceeded):
		return refused(CodeUnavailable, "it does not answer the TLS handshake: does it speak TLS on this port?")
	case !isCut(err) || d.known():
		return err
	case shown.asked && !shown.has:
		return refused(CodeTLS, "it asked for a client certificate, got none and closed the connection")
	case shown.asked:
		return refused(CodeTLS, "it closed the connection after it was shown the client certificate")
	default:
		return refused(CodeTLS, "it closed the connection during the TLS handshake: does it speak TLS on this port?")
	}
}

// certificateAdvice says where to look.
func certificateAdvice(err error) string {
	if _, is := errors.AsType[x509.UnknownAuthorityError](err); is {
		return ", no authority that is trusted has signed it (ca_file)"
	}
	if _, is := errors.AsType[x509.HostnameError](err); is {
		return ", it is for another host (server_name)"
	}
	if invalid, is := errors.AsType[x509.CertificateInvalidError](err); is && invalid.Reason == x509.Expired {
		return ", it has expired or is not valid yet"
	}
	return ""
}

// isCut reports that the other side has ended the connection.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
