package challenge_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTest returns a Client of a server that answers with handler.
func newTest(t testing.TB, handler http.HandlerFunc) *challenge.Client {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return newOf(t, read.Config{BaseURL: s.URL})
}

func newOf(t testing.TB, cfg read.Config) *challenge.Client {
	t.Helper()
	cfg.AccountSID, cfg.Password = account, "the0token"
	c, err := challenge.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}
