package read

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The resources of testdata.
var (
	testAccount = "AC" + strings.Repeat("0a", 16)
	testService = "VA" + strings.Repeat("5e", 16)
	testFactor  = "YF" + strings.Repeat("2c", 16)
	testSID     = "YC" + strings.Repeat("3d", 16)
)

const testIdentity = "door-4711-north"

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// newTest returns a Client of a server that answers with handler.
func newTest(t testing.TB, handler http.HandlerFunc) (*Client, *httptest.Server) {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return newOf(t, s.URL), s
}

func newOf(t testing.TB, base string) *Client {
	t.Helper()
	c, err := New(Config{AccountSID: testAccount, Password: "the0token", BaseURL: base})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}
