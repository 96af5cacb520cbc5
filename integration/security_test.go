package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/authority"
	"github.com/countersign/countersign/schemas"
)

// config is a connector's with two partitions a topic that notices soon.
func (w *world) secureConfig(t connector.TLSConfig, s connector.SASLConfig) connector.Config {
	cfg := w.config()
	cfg.Kafka.TLS, cfg.Kafka.SASL, cfg.Kafka.Partitions = t, s, 2
	return cfg
}

// wantAnswered sends creates and waits until each has succeeded, once.
func (w *world) wantAnswered(from, n int) {
	w.t.Helper()
	for i := range n {
		w.send(w.create(from + i))
	}
	if got := w.awaitAll(); len(got.doubled) > 0 || got.outcomes[schemas.OutcomeSucceeded] != w.sent {
		w.t.Errorf("outcomes %v, doubled %v, want %d succeeded", got.outcomes, got.doubled, w.sent)
	}
}

// TestMechanisms: the main job under each way to say who one is.
func TestMechanisms(t *testing.T) {
	g := newGuarded(t)
	operator := g.operator()
	for _, mechanism := range []kafka.Mechanism{kafka.Plain, kafka.ScramSHA256, kafka.ScramSHA512} {
		t.Run(string(mechanism), func(t *testing.T) {
			w := g.world(false)
			w.t = t
			allow(t, operator, connectorRights(w.place, connector.DeliveryExactlyOnce, true)...)
			cfg := w.secureConfig(g.tls(), g.sasl(mechanism, connectorUser))
			cfg.Kafka.CreateTopics = true
			m := w.run(cfg)
			w.await("the group", func() bool { return m.Status().Ready })
			w.wantAnswered(0, 40)
			must(t, m.leave())
		})
	}
	t.Run("mutual TLS", func(t *testing.T) {
		w := g.world(true)
		w.t = t
		allow(t, operator, connectorRights(w.place, connector.DeliveryExactlyOnce, true)...)
		tls := g.tls()
		tls.CertFile, tls.KeyFile = g.path("client.pem"), g.path("client.key")
		cfg := w.secureConfig(tls, connector.SASLConfig{})
		cfg.Kafka.CreateTopics = true
		m := w.run(cfg)
		w.await("the group", func() bool { return m.Status().Ready })
		w.wantAnswered(0, 40)
		must(t, m.leave())
	})
}

// connectorRights are the table of docs/operations.md: all that an instance needs.
func connectorRights(at place, delivery connector.Delivery, createTopics bool) []acl {
	const topic, group, txn = kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup, kmsg.ACLResourceTypeTransactionalId
	read, write := kmsg.ACLOperationRead, kmsg.ACLOperationWrite
	out := []acl{
		{read, group, at.group, false},
		{read, topic, at.topics.Requests, false},
		{write, topic, at.topics.Results, false},
		{write, topic, at.topics.DeadLetters, false},
		{read, topic, at.topics.Ledger, false},
		{write, topic, at.topics.Ledger, false},
		{read, topic, at.topics.Positions, false},
		{write, topic, at.topics.Positions, false},
	}
	for _, name := range at.names() {
		out = append(out, acl{kmsg.ACLOperationDescribeConfigs, topic, name, false})
	}
	if delivery == connector.DeliveryExactlyOnce {
		out = append(out, acl{write, txn, at.group + "-" + at.topics.Requests + "-", true})
	}
	if createTopics {
		for _, name := range at.names() {
			out = append(out, acl{kmsg.ACLOperationCreate, topic, name, false})
		}
	}
	return out
}

// TestLeastRights: with exactly the rights of the table everything works; with
// any one of them missing, what is reported names it, and nothing is lost: the
// connector goes on by itself when it is given.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	for _, tc := range []struct {
		delivery connector.Delivery
		create   bool
		missing  func(acl) bool // which of the rights to take away, one after the other
	}{
		{connector.DeliveryExactlyOnce, false, func(acl) bool { return true }},
		{connector.DeliveryAtLeastOnce, false, func(acl) bool { return true }},
		{connector.DeliveryExactlyOnce, true, func(a acl) bool { return a.operation == kmsg.ACLOperationCreate }},
		{connector.DeliveryAtLeastOnce, true, func(acl) bool { return false }},
	} {
		t.Run(fmt.Sprintf("%s, create_topics %v", tc.delivery, tc.create), func(t *testing.T) {
			t.Run("all", func(t *testing.T) { g.tryRights(t, tc.delivery, tc.create, -1) })
			for i, right := range connectorRights(place{}, tc.delivery, tc.create) {
				if tc.missing(right) {
					t.Run(fmt.Sprintf("%d without %v", i, right), func(t *testing.T) { g.tryRights(t, tc.delivery, tc.create, i) })
				}
			}
		})
	}
}

// TestCreateOnTheCluster: one right stands for Create on each of the topics.
func TestCreateOnTheCluster(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	w := g.world(false)
	rights := connectorRights(w.place, connector.DeliveryExactlyOnce, false)
	allow(t, g.operator(), append(rights, acl{kmsg.ACLOperationCreate, kmsg.ACLResourceTypeCluster, "kafka-cluster", false})...)
	cfg := w.secureConfig(g.tls(), g.sasl(kafka.ScramSHA512, connectorUser))
	cfg.Kafka.CreateTopics = true
	m := w.run(cfg)
	w.await("the group", func() bool { return m.Status().Ready })
	w.wantAnswered(0, 20)
	must(t, m.leave())
}

// TestRightRevoked: a right is taken from a running connector for longer than a
// topic is given to be found. It names the right, waits, and goes on once it is
// given again.
func TestRightRevoked(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	operator := g.operator()
	w := g.world(false)
	g.makeTopics(w)
	rights := connectorRights(w.place, connector.DeliveryExactlyOnce, false)
	allow(t, operator, rights...)
	m, log := w.runLogged(w.secureConfig(g.tls(), g.sasl(kafka.ScramSHA512, connectorUser)))
	w.wantAnswered(0, 20)
	for _, a := range rights {
		if a.resource != kmsg.ACLResourceTypeTopic || a.name != w.topics.Requests {
			continue
		}
		revoke(t, operator, a)
		w.awaitLog(log, "needs Read on Topic "+a.name)
		w.send(w.create(w.sent), w.create(w.sent+1))
		select {
		case err := <-m.done:
			t.Fatalf("it has ended: %v", err)
		case <-time.After(35 * time.Second):
		}
		allow(t, operator, a)
	}
	w.wantAnswered(w.sent, 20)
	must(t, m.leave())
	if t.Failed() {
		t.Log(log.String())
	}
}

// tryRights runs the main job with all rights, or at first without the i-th.
func (g *guarded) tryRights(t *testing.T, delivery connector.Delivery, create bool, without int) {
	g = &guarded{t: t, addrs: g.addrs, mutual: g.mutual, ca: g.ca, dir: g.dir, jars: g.jars}
	operator := g.operator()
	w := g.world(false)
	if !create || without < 0 && delivery == connector.DeliveryAtLeastOnce {
		g.makeTopics(w)
	}
	rights := connectorRights(w.place, delivery, create)
	for i, a := range rights {
		if i != without {
			allow(t, operator, a)
		}
	}
	cfg := w.secureConfig(g.tls(), g.sasl(kafka.ScramSHA512, connectorUser))
	cfg.Kafka.CreateTopics, cfg.Delivery = create, delivery
	if without >= 0 && rights[without].operation == kmsg.ACLOperationRead && rights[without].name == w.topics.Positions {
		// A position is only read where there is one.
		allow(t, operator, rights[without])
		before := w.run(cfg)
		w.wantAnswered(0, 20)
		must(t, before.leave())
		revoke(t, operator, rights[without])
	}
	m, log := w.runLogged(cfg)
	if without >= 0 {
		if !create {
			w.send(w.create(w.sent), w.create(w.sent+1))
		}
		said := names(rights, without)
		w.awaitLog(log, said)
		allow(t, operator, rights[without])
	}
	w.await("the group", func() bool { return m.Status().Ready })
	w.wantAnswered(w.sent, 20)
	must(t, m.leave())
	unchecked := without >= 0 && rights[without].operation == kmsg.ACLOperationDescribeConfigs
	if strings.Contains(log.String(), "cannot be checked") != unchecked {
		t.Errorf("that settings cannot be checked has to be said: %t", unchecked)
	}
	if t.Failed() {
		t.Log(log.String())
	}
}

// awaitLog waits until a log holds a text, and shows the log where it does not.
func (w *world) awaitLog(log *lockedBuffer, text string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(log.String(), text) {
		select {
		case <-ctx.Done():
			w.t.Fatalf("waited for %q in the log:\n%s", text, log)
		case <-tick.C:
		}
	}
}

// names is what is said of a right that is missing. Read and Write include
// Describe, so where neither is left that is what is asked for first.
func names(rights []acl, missing int) string {
	a := rights[missing]
	operation := map[kmsg.ACLOperation]string{
		kmsg.ACLOperationRead: "Read", kmsg.ACLOperationWrite: "Write", kmsg.ACLOperationCreate: "Create",
		kmsg.ACLOperationDescribeConfigs: "DescribeConfigs",
	}[a.operation]
	resource := map[kmsg.ACLResourceType]string{
		kmsg.ACLResourceTypeTopic: "Topic", kmsg.ACLResourceTypeGroup: "Group", kmsg.ACLResourceTypeTransactionalId: "TransactionalId",
	}[a.resource]
	describes := func(o kmsg.ACLOperation) bool { return o == kmsg.ACLOperationRead || o == kmsg.ACLOperationWrite }
	if resource == "Topic" && describes(a.operation) && !slices.ContainsFunc(rights, func(other acl) bool {
		return other != a && other.resource == a.resource && other.name == a.name && describes(other.operation)
	}) {
		operation = "Describe"
	}
	return fmt.Sprintf("needs %s on %s %s", operation, resource, a.name)
}

// TestWrongPassword: one line in the log and few attempts at the broker, until
// the password is mended in its file; then work goes on by itself.
func TestWrongPassword(t *testing.T) {
	g := newGuarded(t)
	w := g.world(false)
	g.makeTopics(w)
	allow(t, g.operator(), connectorRights(w.place, connector.DeliveryExactlyOnce, false)...)
	w.send(w.create(0))
	sasl := g.sasl(kafka.ScramSHA256, connectorUser)
	sasl.Password, sasl.PasswordFile = "", g.write("password", []byte("not the one"))
	cfg := w.secureConfig(g.tls(), sasl)
	var dials *atomic.Int64
	cfg.Kafka.Brokers = make([]string, 1)
	cfg.Kafka.Brokers[0], dials = counted(t, g.addrs[0])
	m, log := w.runLogged(cfg)
	const looks = 6 // of a connector that waits for its topics, a second apart
	var atWrong atomic.Int64
	time.AfterFunc(looks*time.Second, func() {
		atWrong.Store(dials.Load())
		g.write("password", []byte(brokerSecret+"\n"))
	})
	w.await("not ready, with a reason", func() bool {
		s := m.Status()
		return !s.Ready && strings.Contains(s.Reason, `refuses the user "connector" and its password by SASL SCRAM-SHA-256`)
	})
	got := w.awaitAll()
	must(t, m.leave())
	if got.outcomes[schemas.OutcomeSucceeded] != 1 {
		t.Errorf("outcomes %v", got.outcomes)
	}
	if n := lines(log, "level=ERROR"); n != 1 {
		t.Errorf("%d errors in the log, want one:\n%s", n, log)
	}
	if n := lines(log, `msg="not a member of the consumer group, trying again" error="kafka: metadata`); n != 1 {
		t.Errorf("%d warnings of it in the log, want one:\n%s", n, log)
	}
	if strings.Contains(log.String(), brokerSecret) || strings.Contains(log.String(), "not the one") {
		t.Error("a password is in the log")
	}
	// At once, and after 1, 2 and 4 seconds.
	if n := atWrong.Load(); n < 2 || n > 4 {
		t.Errorf("the broker was connected to %d times in %d s", n, looks)
	}
}

// TestRefusedWhileWorking: the credentials stop to be right under a connector
// that is at work, and every connection has to be made anew. It says so, is not
// ready, keeps what it has, and goes on by itself once they are right again:
// nothing is lost or called a second time.
func TestRefusedWhileWorking(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	w := g.world(false)
	g.makeTopics(w)
	allow(t, g.operator(), connectorRights(w.place, connector.DeliveryExactlyOnce, false)...)
	sasl := g.sasl(kafka.ScramSHA256, connectorUser)
	sasl.Password, sasl.PasswordFile = "", g.write("password", []byte(brokerSecret))
	m, log := w.runLogged(w.secureConfig(g.tls(), sasl))
	w.wantAnswered(0, 20)
	must(t, w.api.Outage(time.Second)) // what is sent now is under way when the connections go
	for i := range 40 {
		w.send(w.create(20 + i))
	}
	g.write("password", []byte("not the one"))
	g.sever(w)
	w.await("not ready, with the reason", func() bool {
		s := m.Status()
		return !s.Ready && strings.Contains(s.Reason, `refuses the user "connector" and its password`)
	})
	g.write("password", []byte(brokerSecret))
	got := w.awaitAll()
	must(t, m.leave())
	if len(got.doubled) > 0 || got.outcomes[schemas.OutcomeSucceeded]+got.outcomes[schemas.OutcomeAdopted] != 60 {
		t.Errorf("outcomes %v, doubled %v\n%s", got.outcomes, got.doubled, log)
	}
	if made := w.api.Stats().Creates; made != 60 {
		t.Errorf("%d challenges for 60 requests", made)
	}
}

// sever ends every connection to the brokers.
func (g *guarded) sever(w *world) {
	g.t.Helper()
	if g.jars != nil {
		g.restart(w)
		return
	}
	for _, c := range g.kfake {
		until := time.Now().Add(time.Second)
		c.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
			if time.Now().After(until) {
				return nil, nil, false
			}
			c.KeepControl()
			return nil, errSevered, true
		})
	}
}

var errSevered = errors.New("severed")

// counted is a way to a broker on which connections are counted. Whoever is let
// in goes on at the address that the broker advertises.
func counted(t testing.TB, broker string) (address string, n *atomic.Int64) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	n = &atomic.Int64{}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			far, err := new(net.Dialer).DialContext(t.Context(), "tcp", broker)
			if err != nil {
				_ = near.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				serving.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					_ = near.Close()
					_ = far.Close()
				})
			}
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return l.Addr().String(), n
}

// TestRotatedCertificates: the brokers and the connector move to another
// authority, and to new certificates of it, while the connector runs on.
func TestRotatedCertificates(t *testing.T) {
	g := newGuarded(t)
	w := g.world(true)
	operator := g.operator()
	allow(t, operator, connectorRights(w.place, connector.DeliveryExactlyOnce, false)...)
	g.makeTopics(w)
	tls := g.tls()
	tls.CertFile, tls.KeyFile = g.path("client.pem"), g.path("client.key")
	m, log := w.runLogged(w.secureConfig(tls, connector.SASLConfig{}))
	w.wantAnswered(0, 20)

	former := g.ca.PEM()
	next, err := authority.New("next")
	must(t, err)
	g.ca = next
	g.write("ca.pem", append(former, next.PEM()...)) // both, while the two sides change
	g.certify()
	g.sever(w)
	w.wantAnswered(20, 20)
	g.write("ca.pem", next.PEM())
	g.sever(w)
	w.wantAnswered(40, 20)
	must(t, m.leave())
	if n := lines(log, "the credentials for Kafka have changed: new connections"); n == 0 {
		t.Errorf("the log does not tell of new credentials:\n%s", log)
	}
}

// restart makes the brokers read their certificates again. The embedded ones
// do so for each connection.
func (g *guarded) restart(w *world) {
	g.t.Helper()
	if g.jars == nil {
		return
	}
	must(g.t, g.jars.Node(0).Stop())
	must(g.t, g.jars.Node(0).Start(g.t.Context()))
	w.await("the partitions to have leaders", func() bool {
		_, err := w.kafka.Ranges(g.t.Context(), w.topics.Requests)
		return err == nil
	})
}
