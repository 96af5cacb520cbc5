package integration

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/integration/cluster"
	"github.com/countersign/countersign/internal/authority"
	"github.com/countersign/countersign/internal/emulator"
)

const (
	// connectorUser has the rights that a test gives it, operatorUser has all.
	connectorUser = "connector"
	operatorUser  = "operator"
	brokerSecret  = "correct-horse-battery-staple"

	saslListener   = "SECURED"
	mutualListener = "MUTUAL"
)

// guarded is a cluster that wants to know who is there: Apache Kafka from its
// jars where the tests run on it, else the embedded broker.
type guarded struct {
	t      testing.TB
	addrs  []string // SASL over TLS
	mutual []string // TLS with client certificates
	ca     *authority.Authority
	dir    string
	jars   *cluster.JarsCluster // nil: the embedded broker
	kfake  []*kfake.Cluster     // its listeners
}

func newGuarded(t testing.TB) *guarded {
	t.Helper()
	ca, err := authority.New("test")
	must(t, err)
	g := &guarded{t: t, ca: ca, dir: t.TempDir()}
	g.write("ca.pem", ca.PEM())
	g.certify()
	if shared != nil && shared.Kind == cluster.Jars {
		g.startJars()
	} else {
		g.startEmbedded()
	}
	return g
}

// certify writes new certificates of the authority for both sides.
func (g *guarded) certify() {
	g.t.Helper()
	server, err := g.ca.Issue(authority.Leaf{Name: "localhost", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	must(g.t, err)
	client, err := g.ca.Issue(authority.Leaf{Name: connectorUser})
	must(g.t, err)
	g.write("server.pem", append(bytes.Clone(server.Key), server.Cert...))
	g.write("client.pem", client.Cert)
	g.write("client.key", client.Key)
}

func (g *guarded) write(name string, data []byte) string {
	g.t.Helper()
	path := filepath.Join(g.dir, name)
	must(g.t, os.WriteFile(path, data, 0o600))
	return path
}

func (g *guarded) path(name string) string { return filepath.Join(g.dir, name) }

// startJars starts Apache Kafka with its StandardAuthorizer, which lets nobody do
// anything without a right but the operator and the cluster's own listener.
func (g *guarded) startJars() {
	g.t.Helper()
	const module = "org.apache.kafka.common.security."
	properties := map[string]string{
		"authorizer.class.name":                "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                          "User:ANONYMOUS;User:" + operatorUser,
		"sasl.enabled.mechanisms":              "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		"ssl.keystore.type":                    "PEM",
		"ssl.keystore.location":                g.path("server.pem"),
		"ssl.truststore.type":                  "PEM",
		"ssl.truststore.location":              g.path("ca.pem"),
		"ssl.principal.mapping.rules":          "RULE:^CN=(.*)$/$1/",
		"listener.name.mutual.ssl.client.auth": "required",
		"listener.name.secured.plain.sasl.jaas.config": fmt.Sprintf("%splain.PlainLoginModule required user_%s=%q user_%s=%q;",
			module, connectorUser, brokerSecret, operatorUser, brokerSecret),
	}
	var users []string
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		properties["listener.name.secured."+strings.ToLower(mechanism)+".sasl.jaas.config"] = module + "scram.ScramLoginModule required;"
		for _, user := range []string{connectorUser, operatorUser} {
			users = append(users, fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, user, brokerSecret))
		}
	}
	c, err := cluster.StartJars(g.t.Context(), cluster.JarsConfig{
		Properties: properties, Listeners: map[string]string{saslListener: "SASL_SSL", mutualListener: "SSL"}, ScramUsers: users,
	})
	must(g.t, err)
	g.t.Cleanup(func() {
		if g.t.Failed() {
			g.t.Log(c.Node(0).Log())
		}
		must(g.t, c.Close(context.Background()))
	})
	g.jars, g.addrs, g.mutual = c, c.AddrsOf(saslListener), c.AddrsOf(mutualListener)
}

// startEmbedded starts an embedded broker for each of the two listeners; its
// rights are by SASL user only, so the one for client certificates has none.
func (g *guarded) startEmbedded() {
	g.t.Helper()
	serve := func(clients tls.ClientAuthType) kfake.Opt {
		return kfake.TLS(&tls.Config{
			MinVersion: tls.VersionTLS12, ClientAuth: clients,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				pair, err := tls.LoadX509KeyPair(g.path("server.pem"), g.path("server.pem"))
				if err != nil {
					return nil, err
				}
				trusted, err := os.ReadFile(g.path("ca.pem"))
				if err != nil {
					return nil, err
				}
				pool := x509.NewCertPool()
				pool.AppendCertsFromPEM(trusted)
				return &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: clients, ClientCAs: pool, Certificates: []tls.Certificate{pair}}, nil
			},
		})
	}
	opts := []kfake.Opt{kfake.NumBrokers(1), kfake.EnableSASL(), kfake.EnableACLs(), serve(tls.NoClientCert)}
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		opts = append(opts, kfake.User(mechanism, connectorUser, brokerSecret), kfake.Superuser(mechanism, operatorUser, brokerSecret))
	}
	for _, one := range []struct {
		addrs *[]string
		opts  []kfake.Opt
	}{{&g.addrs, opts}, {&g.mutual, []kfake.Opt{kfake.NumBrokers(1), serve(tls.RequireAndVerifyClientCert)}}} {
		c, err := kfake.NewCluster(one.opts...)
		must(g.t, err)
		g.t.Cleanup(c.Close)
		g.kfake = append(g.kfake, c)
		*one.addrs = c.ListenAddrs()
	}
}

func (g *guarded) tls() connector.TLSConfig {
	return connector.TLSConfig{Enabled: true, CAFile: g.path("ca.pem")}
}

func (g *guarded) sasl(mechanism kafka.Mechanism, user string) connector.SASLConfig {
	return connector.SASLConfig{Mechanism: mechanism, Username: user, Password: brokerSecret}
}

// world is one whose judge is the operator, over SASL, or over TLS with the
// client certificate.
func (g *guarded) world(mutual bool) *world {
	g.t.Helper()
	e, err := emulator.New(emulator.Config{})
	must(g.t, err)
	must(g.t, e.Start(g.t.Context()))
	g.t.Cleanup(func() { must(g.t, e.Close(context.Background())) })
	w := &world{place: placeAt(g.addrs), t: g.t, api: e}
	judge := connector.KafkaConfig{Brokers: g.addrs, ClientID: "judge", TLS: g.tls(), SASL: g.sasl(kafka.ScramSHA256, operatorUser)}
	if mutual {
		w.addrs, judge.Brokers, judge.SASL = g.mutual, g.mutual, connector.SASLConfig{}
		if g.jars != nil {
			judge.Brokers, judge.TLS = g.jars.Addrs(), connector.TLSConfig{} // which nobody's certificate closes
		} else {
			judge.TLS.CertFile, judge.TLS.KeyFile = g.path("client.pem"), g.path("client.key")
		}
	}
	k, err := kafka.NewClient(judge.Client(nil))
	must(g.t, err)
	g.t.Cleanup(func() { must(g.t, k.Close()) })
	w.kafka = k
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(g.t, err)
	for i := range 20 {
		f, err := e.AddPushFactor(fmt.Sprintf("identity-%04d", i), &key.PublicKey)
		must(g.t, err)
		w.factors = append(w.factors, f)
	}
	return w
}

// makeTopics makes the world's topics as the operator.
func (g *guarded) makeTopics(w *world) {
	g.t.Helper()
	must(g.t, w.kafka.EnsureTopics(g.t.Context(), w.plain(2)))
}

// lines counts the lines of a log that hold a text.
func lines(l *lockedBuffer, with string) (n int) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, with) {
			n++
		}
	}
	return n
}

// runLogged is world.run with a log.
func (w *world) runLogged(cfg connector.Config) (*member, *lockedBuffer) {
	w.t.Helper()
	var l lockedBuffer
	c, err := connector.New(cfg, connector.WithLogger(slog.New(slog.NewTextHandler(&l, nil))))
	must(w.t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(w.t.Context()))
	m := &member{Connector: c, stop: stop, done: make(chan error, 1)}
	go func() { m.done <- c.Run(ctx) }()
	w.t.Cleanup(stop)
	return m, &l
}

// acl is a line of the table in docs/operations.md.
type acl struct {
	operation kmsg.ACLOperation
	resource  kmsg.ACLResourceType
	name      string
	prefixed  bool
}

func (a acl) String() string {
	return fmt.Sprintf("%s on %s %s", a.operation, a.resource, a.name)
}

func (a acl) pattern() kmsg.ACLResourcePatternType {
	if a.prefixed {
		return kmsg.ACLResourcePatternTypePrefixed
	}
	return kmsg.ACLResourcePatternTypeLiteral
}

// operator is another make of client with all rights, for what ours has no call for.
func (g *guarded) operator() *kgo.Client {
	g.t.Helper()
	pool := g.ca.Pool()
	// Its TLS and SASL are as they should be, so a connection that ends early
	// says nothing of them and is tried again.
	c, err := kgo.NewClient(kgo.SeedBrokers(g.addrs...), kgo.AlwaysRetryEOF(), kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}),
		kgo.SASL(scram.Auth{User: operatorUser, Pass: brokerSecret}.AsSha512Mechanism()))
	must(g.t, err)
	g.t.Cleanup(c.Close)
	return c
}

func allow(t testing.TB, operator *kgo.Client, rights ...acl) {
	t.Helper()
	req := kmsg.NewPtrCreateACLsRequest()
	for _, a := range rights {
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourceName, c.ResourcePatternType = a.resource, a.name, a.pattern()
		c.Principal, c.Host, c.Operation, c.PermissionType = "User:"+connectorUser, "*", a.operation, kmsg.ACLPermissionTypeAllow
		req.Creations = append(req.Creations, c)
	}
	res, err := req.RequestWith(t.Context(), operator)
	must(t, err)
	for i, r := range res.Results {
		if r.ErrorCode != 0 {
			t.Fatalf("allow %v: error %d", rights[i], r.ErrorCode)
		}
	}
	for _, a := range rights {
		a.await(t, operator, true)
	}
}

func revoke(t testing.TB, operator *kgo.Client, a acl) {
	t.Helper()
	req := kmsg.NewPtrDeleteACLsRequest()
	f := kmsg.NewDeleteACLsRequestFilter()
	f.ResourceType, f.ResourceName, f.ResourcePatternType = a.resource, new(a.name), a.pattern()
	f.Principal, f.Operation, f.PermissionType = new("User:"+connectorUser), a.operation, kmsg.ACLPermissionTypeAllow
	req.Filters = append(req.Filters, f)
	res, err := req.RequestWith(t.Context(), operator)
	must(t, err)
	if len(res.Results) != 1 || res.Results[0].ErrorCode != 0 || len(res.Results[0].MatchingACLs) != 1 {
		t.Fatalf("revoke %v: %+v", a, res.Results)
	}
	a.await(t, operator, false)
}

// await waits until every broker goes by a right, or by its absence: the
// controller answers before they have heard of it.
func (a acl) await(t testing.TB, operator *kgo.Client, there bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType, req.ResourceName, req.ResourcePatternType = a.resource, new(a.name), a.pattern()
	req.Principal, req.Operation, req.PermissionType = new("User:"+connectorUser), a.operation, kmsg.ACLPermissionTypeAllow
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	cluster, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, operator)
	must(t, err)
	for _, b := range cluster.Brokers {
		for known := !there; known != there; {
			res, err := operator.Broker(int(b.NodeID)).RetriableRequest(ctx, req)
			must(t, err)
			acls := res.(*kmsg.DescribeACLsResponse) //nolint:forcetypeassert // of this request
			if acls.ErrorCode != 0 {
				t.Fatalf("asking for %v: error %d", a, acls.ErrorCode)
			}
			if known = len(acls.Resources) > 0; known != there {
				<-tick.C
			}
		}
	}
}
