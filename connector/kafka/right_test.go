package kafka

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// TestRightsTakenAway: without the right to describe it a topic is left out of
// what kafka-go knows of the cluster. A client that has used it before says which
// right it lacks, and not that the topic does not exist.
func TestRightsTakenAway(t *testing.T) {
	const operator = "operator"
	s := startSecured(t, 0, false, kfake.EnableSASL(), kfake.EnableACLs(),
		kfake.Superuser(string(Plain), operator, goodPassword), kfake.User(string(Plain), goodUser, goodPassword))
	judge, err := kgo.NewClient(kgo.SeedBrokers(s.addrs...), kgo.SASL(plain.Auth{User: operator, Pass: goodPassword}.AsMechanism()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(judge.Close)
	allow := func() {
		t.Helper()
		req := kmsg.NewPtrCreateACLsRequest()
		a := kmsg.NewCreateACLsRequestCreation()
		a.ResourceType, a.ResourceName, a.ResourcePatternType = kmsg.ACLResourceTypeTopic, "t", kmsg.ACLResourcePatternTypeLiteral
		a.Principal, a.Host, a.Operation, a.PermissionType = "User:"+goodUser, "*", kmsg.ACLOperationRead, kmsg.ACLPermissionTypeAllow
		req.Creations = append(req.Creations, a)
		if res, err := req.RequestWith(t.Context(), judge); err != nil || res.Results[0].ErrorCode != 0 {
			t.Fatal(res, err)
		}
	}
	revoke := func() {
		t.Helper()
		req := kmsg.NewPtrDeleteACLsRequest()
		f := kmsg.NewDeleteACLsRequestFilter()
		f.ResourceType, f.ResourceName, f.ResourcePatternType = kmsg.ACLResourceTypeTopic, new("t"), kmsg.ACLResourcePatternTypeLiteral
		f.Operation, f.PermissionType = kmsg.ACLOperationRead, kmsg.ACLPermissionTypeAllow
		req.Filters = append(req.Filters, f)
		if res, err := req.RequestWith(t.Context(), judge); err != nil || res.Results[0].ErrorCode != 0 || len(res.Results[0].MatchingACLs) != 1 {
			t.Fatal(res, err)
		}
	}

	c, _ := s.open(Config{SASL: user(Plain, goodPassword)})
	calls := map[string]struct {
		do    func() error
		needs string
	}{
		"fetch":  {func() error { _, err := c.Fetch(t.Context(), FetchRequest{Topic: "t"}); return err }, "Read"},
		"range":  {func() error { _, err := (&Session{client: c, topic: "t"}).Range(t.Context()); return err }, "Describe"},
		"at":     {func() error { _, err := c.OffsetAt(t.Context(), "t", 0, time.Unix(0, 0)); return err }, "Describe"},
		"stable": {func() error { return c.AwaitStable(t.Context(), "t", 0) }, "Describe"},
		"last":   {func() error { _, _, err := c.LastOf(t.Context(), "t", 0, nil); return err }, "Describe"},
		"route":  {func() error { _, err := c.route(t.Context(), "route", []Message{{Topic: "t"}}); return err }, "Write"},
	}
	works := func() {
		t.Helper()
		for name, call := range calls {
			if err := call.do(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	allow()
	works()
	revoke()
	deadline := time.Now().Add(time.Minute)
	for known := true; known; { // until kafka-go has looked again
		_, err := c.layout(t.Context(), []string{"t"})
		if known = err == nil; known && time.Now().After(deadline) {
			t.Fatal("the topic is still in the layout")
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Run("revoked", func(t *testing.T) {
		for name, call := range calls {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				err := call.do()
				wantCode(t, err, CodeDenied)
				if want := `user "connector" needs ` + call.needs + " on Topic t"; !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %q", err, want)
				}
			})
		}
	})
	allow()
	works()
}
