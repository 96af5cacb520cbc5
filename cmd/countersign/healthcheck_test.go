package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealthcheck(t *testing.T) {
	asked := make(chan struct{}, 1)
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /well", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /unready", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not ready: joining\n"+strings.Repeat("x", 4096), http.StatusServiceUnavailable)
	})
	mux.HandleFunc("GET /elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/well", http.StatusFound) })
	mux.HandleFunc("GET /hangs", func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-release })
	server := httptest.NewServer(mux)
	defer server.Close()
	defer close(release)

	for _, c := range []struct {
		name, url string
		args      []string
		code      int
		says      string
	}{
		{name: "well", url: server.URL + "/well", code: exitOK},
		{name: "not ready", url: server.URL + "/unready", code: exitFailed, says: "503 Service Unavailable: \"not ready: joining"},
		{name: "a redirect is no answer", url: server.URL + "/elsewhere", code: exitFailed, says: "302"},
		{name: "no such page", url: server.URL + "/", code: exitFailed, says: "404"},
		{name: "nobody there", url: "http://127.0.0.1:1/healthz", code: exitFailed, says: "refused"},
		{name: "silence", url: server.URL + "/hangs", args: []string{"--timeout", "50ms"}, code: exitFailed, says: "deadline"},
		{name: "a password stays hidden", url: strings.Replace(server.URL, "http://", "http://u:secret@", 1) + "/unready", code: exitFailed, says: "u:xxxxx@"},
		{name: "no URL", url: "127.0.0.1:8080", code: exitUsage, says: "--url must be"},
		{name: "another scheme", url: "file:///etc/hosts", code: exitUsage, says: "--url must be"},
		{name: "no time", url: server.URL + "/well", args: []string{"--timeout", "0s"}, code: exitUsage, says: "--timeout must be"},
		{name: "an argument", url: server.URL + "/well", args: []string{"now"}, code: exitUsage, says: "takes no arguments"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := cli(t, "", append([]string{"healthcheck", "--url", c.url}, c.args...)...).want(t, c.code)
			if !strings.Contains(e.err, c.says) || e.out != "" || strings.Contains(e.err, "secret") || len(e.err) > 600 {
				t.Errorf("%q %q, want %q", e.out, e.err, c.says)
			}
		})
	}
	<-asked
}
