package main

import (
	"net/http"
	"strings"
	"testing"
)

// TestEmulatorWeb: the page shows a phone for each push factor, also where calls
// are struck by faults, and one where none was asked for.
func TestEmulatorWeb(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"default": {nil, []string{webIdentity}},
		"named":   {[]string{"--push-factor", "customer-0007", "--push-factor", "customer-0008", "--totp-factor", "customer-0009=GEZDGNBVGY3TQOJQ"}, []string{"customer-0007", "customer-0008"}},
		"faults":  {[]string{"--throttle-rate", "1"}, []string{webIdentity}},
		"all":     {[]string{"--listen", "0.0.0.0:0", "--listen-any"}, []string{webIdentity}},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, append([]string{"emulator", "--listen", "127.0.0.1:0", "--web=127.0.0.1:0"}, c.args...)...)
			page := e.field(t, "web  ")
			for _, identity := range c.want {
				e.out.line(t, "(push) identity "+identity)
			}
			_, state := get(t, page+"state")
			for _, identity := range c.want {
				if !strings.Contains(state, `"identity":"`+identity+`","factor_sid":"YF`) {
					t.Errorf("no phone of %s: %s", identity, state)
				}
			}
			if strings.Contains(state, "customer-0009") || strings.Contains(state, `"send":true`) {
				t.Errorf("%s", state)
			}
			e.end()
			e.wait(t).want(t, exitOK)
		})
	}
}

func TestWebRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"emulator", "--web=0.0.0.0:0"}, {"emulator", "--web=nowhere"}, {"demo", "--web=0.0.0.0:0"}, {"demo", "--web=example.com:80"},
	} {
		if e := cli(t, "", args...).want(t, exitUsage); !strings.Contains(e.err, args[1]) {
			t.Errorf("%q: %q", args, e.err)
		}
	}
	taken := start(t, "emulator", "--listen", "127.0.0.1:0", "--web=127.0.0.1:0")
	address := strings.Trim(strings.TrimPrefix(taken.field(t, "web  "), "http://"), "/")
	if e := cli(t, "", "emulator", "--listen", "127.0.0.1:0", "--web="+address).want(t, exitFailed); !strings.Contains(e.err, address) {
		t.Errorf("%q", e.err)
	}
	taken.end()
	taken.wait(t).want(t, exitOK)
}

// A browser that only keeps a connection in reserve does not hold the end up.
func TestEmulatorEndsUnderAnOpenPage(t *testing.T) {
	e := start(t, "emulator", "--listen", "127.0.0.1:0", "--web=127.0.0.1:0")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(e.field(t, "web  ") + "events")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	e.end()
	e.wait(t).want(t, exitOK)
}
