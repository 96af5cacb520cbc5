package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// mechanism is the exchange for one connection.
func (s SASL) mechanism(password string) (sasl.Mechanism, error) {
	switch s.Mechanism {
	case Plain:
		return plain.Mechanism{Username: s.Username, Password: password}, nil
	case ScramSHA256:
		return scram.Mechanism(scram.SHA256, s.Username, password)
	case ScramSHA512:
		return scram.Mechanism(scram.SHA512, s.Username, password)
	default:
		return nil, errors.New("no mechanism of this name is known")
	}
}

// authenticate sends the credentials over a connection that is fresh.
func (s *security) authenticate(ctx context.Context, conn net.Conn, d *door, password string) error {
	address := d.address
	refused := func(err error, format string, args ...any) error {
		return &refusal{code: CodeUnauthenticated, broker: address, text: fmt.Sprintf(format, args...), err: err}
	}
	mechanism, err := s.sasl.mechanism(password)
	if err != nil {
		// Its text may quote what it cannot prepare.
		return refused(nil, "SASL %s cannot be begun with the user name or password as they are", s.sasl.Mechanism)
	}
	wire := protocol.NewConn(conn, s.clientID)
	wire.SetVersions(map[protocol.ApiKey]int16{protocol.SaslHandshake: 1, protocol.SaslAuthenticate: 1})
	res, err := wire.RoundTrip(&saslhandshake.Request{Mechanism: string(s.sasl.Mechanism)})
	if err != nil {
		return s.broken(d, err)
	}
	switch shake := res.(*saslhandshake.Response); kafkago.Error(shake.ErrorCode) {
	case 0:
	case kafkago.UnsupportedSASLMechanism:
		return refused(kafkago.UnsupportedSASLMechanism, "it does not offer SASL %s, only %s", s.sasl.Mechanism, strings.Join(shake.Mechanisms, ", "))
	case kafkago.IllegalSASLState:
		return refused(kafkago.IllegalSASLState, "it does not do SASL on this port")
	default:
		return refused(kafkago.Error(shake.ErrorCode), "it refuses SASL %s", s.sasl.Mechanism)
	}
	session, say, err := mechanism.Start(sasl.WithMetadata(ctx, &sasl.Metadata{}))
	for done := false; err == nil && !done; {
		res, err := wire.RoundTrip(&saslauthenticate.Request{AuthBytes: say})
		if isCut(err) {
			// Some brokers refuse so.
			return refused(err, "it refuses the user %q and its password by SASL %s", s.sasl.Username, s.sasl.Mechanism)
		}
		if err != nil {
			return err
		}
		answer := res.(*saslauthenticate.Response)
		if answer.ErrorCode != 0 {
			return refused(kafkago.Error(answer.ErrorCode), "it refuses the user %q and its password by SASL %s", s.sasl.Username, s.sasl.Mechanism)
		}
		if done, say, err = session.Next(ctx, answer.AuthBytes); err != nil {
			return refused(nil, "it could not prove by SASL %s that it knows the password of user %q", s.sasl.Mechanism, s.sasl.Username)
		}
	}
	return err
}

// broken is an exchange that ended without an answer.
func (s *security) broken(d *door, err error) error {
	if s.tls.Enabled || !isCut(err) || d.known() {
		return err
	}
	return &refusal{
		code: CodeUnauthenticated, broker: d.address, err: err,
		text: "it closed the connection at SASL " + string(s.sasl.Mechanism) + ": does it do SASL without TLS on this port?",
	}
}

// firstAnswer asks for something that every broker answers.
func (s *security) firstAnswer(conn net.Conn, address string) error {
	res, err := protocol.NewConn(conn, s.clientID).RoundTrip(&apiversions.Request{})
	if err != nil {
		return err
	}
	if code := kafkago.Error(res.(*apiversions.Response).ErrorCode); code != 0 {
		return fmt.Errorf("broker %s: ApiVersions: %w", address, code)
	}
	return nil
}
