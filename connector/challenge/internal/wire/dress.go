package wire

import (
	"encoding/base64"
	"net/http"
	"runtime/debug"
	"sync"
)

// dresser returns a function that adds the headers of every request. HTTP
// Basic takes the account SID and auth token, or an API key's SID and secret.
func dresser(cfg Config) func(http.Header) {
	user := cfg.Username
	if user == "" {
		user = cfg.AccountSID
	}
	agent := cfg.UserAgent
	if agent == "" {
		agent = "countersign/" + version()
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+cfg.Password.Reveal()))
	return func(h http.Header) {
		h["Authorization"] = []string{basic}
		h["User-Agent"] = []string{agent}
		h["Accept"] = []string{"application/json"}
	}
}

const module = "github.com/countersign/countersign"

// version is this module's version as the binary was built with it; "devel"
// where the build doesn't know.
var version = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module && m.Version != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	return "devel"
})
