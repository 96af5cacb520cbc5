package main

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/countersign/countersign/internal/emulator"
)

// field reads a value of what the emulator prints.
func (c *command) field(t *testing.T, name string) string {
	t.Helper()
	return strings.Fields(c.out.line(t, name))[1]
}

func TestEmulatorServesUntilItIsAskedToEnd(t *testing.T) {
	e := start(t, "emulator", "--listen", "127.0.0.1:0", "--push-factor", testIdentity, "--totp-factor", "customer-0002=GEZDGNBVGY3TQOJQ",
		"--passkeys-factor", "customer-0003", "--rule", "invalid-as-60300", "--rule", "not-found-as-400")
	base := e.field(t, "base_url")
	form := url.Values{"FactorSid": {e.field(t, "(push) identity "+testIdentity)}, "Details.Message": {"Sign in?"}}
	if !strings.Contains(e.out.line(t, "(totp)"), "customer-0002") || !strings.Contains(e.out.line(t, "(passkeys)"), "customer-0003") || strings.Contains(e.out.String(), "GEZDGNBVGY3TQOJQ") {
		t.Errorf("the factors: %s", e.out)
	}
	post := func(token string) int {
		req, err := http.NewRequest(http.MethodPost, base+"/v2/Services/"+e.field(t, "service_sid")+"/Entities/"+testIdentity+"/Challenges",
			strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(e.field(t, "account_sid"), token)
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	if code := post(e.field(t, "auth_token")); code != 201 {
		t.Errorf("create: %d", code)
	}
	form.Set("FactorSid", "YF00000000000000000000000000000000")
	if code := post(e.field(t, "auth_token")); code != 400 {
		t.Errorf("create for an unknown factor, by the rule: %d", code)
	}
	if code := post("wrong"); code != 401 {
		t.Errorf("create with a wrong token: %d", code)
	}
	if _, body := get(t, base+"/_emulator/stats"); !strings.Contains(body, `"creates":1`) {
		t.Errorf("stats: %s", body)
	}
	e.end()
	e.wait(t).want(t, exitOK)
}

// During the outage nobody gets through, and it can still be ended.
func TestEmulatorOutage(t *testing.T) {
	e := start(t, "emulator", "--listen", "127.0.0.1:0", "--outage", "1h", "--outage-after", "1ms")
	address := strings.TrimPrefix(e.field(t, "base_url"), "http://")
	dialer := net.Dialer{Timeout: patience}
	for refused := false; !refused; {
		conn, err := dialer.DialContext(t.Context(), "tcp", address)
		refused = errors.Is(err, syscall.ECONNREFUSED)
		if err == nil {
			_ = conn.Close()
		}
	}
	e.end()
	e.wait(t).want(t, exitOK)
}

// A call under way is answered before the process ends, its latency cut short.
func TestEmulatorAnswersBeforeItEnds(t *testing.T) {
	e, process := spawn(t, "emulator", "--listen", "127.0.0.1:0", "--latency", "10m")
	base := e.field(t, "base_url")
	req, err := http.NewRequest(http.MethodGet, base+"/v2/Services/"+e.field(t, "service_sid")+"/Entities/"+testIdentity+"/Challenges/"+someChallenge, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(e.field(t, "account_sid"), e.field(t, "auth_token"))
	answer := make(chan int, 1)
	go func() {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
		res, err := client.Do(req)
		if err != nil {
			answer <- 0
			return
		}
		_ = res.Body.Close()
		answer <- res.StatusCode
	}()
	for busy := false; !busy; {
		_, body := get(t, base+"/_emulator/stats")
		busy = strings.Contains(body, `"concurrent":1,`)
	}
	if err := process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	e.wait(t).want(t, exitOK)
	if code := <-answer; code != 404 {
		t.Errorf("the call was answered with %d", code)
	}
}

func TestEmulatorEndsOnASignal(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		e, process := spawn(t, "emulator", "--listen", "127.0.0.1:0")
		e.field(t, "service_sid")
		if err := process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		e.wait(t).want(t, exitOK)
	}
}

func TestEmulatorTakesItsAccountFromTheEnvironment(t *testing.T) {
	t.Setenv("EMULATOR_ACCOUNT_SID", "AC0000000000000000000000000000beef")
	t.Setenv("EMULATOR_AUTH_TOKEN", testToken)
	e := start(t, "emulator", "--listen", "127.0.0.1:0")
	if sid := e.field(t, "account_sid"); sid != "AC0000000000000000000000000000beef" {
		t.Errorf("account %s", sid)
	}
	if line := e.out.line(t, "auth_token"); !strings.Contains(line, "as given") || strings.Contains(e.out.String(), testToken) {
		t.Errorf("it prints a token that it was given: %s", e.out)
	}
}

func TestEmulatorFaults(t *testing.T) {
	file := writeFile(t, "faults.json", `{"throttle_rate":0.5,"reset_after_rate":0.2,"server_error_status":503,"latency":{"max":"1s"}}`)
	e := start(t, "emulator", "--listen", "127.0.0.1:0", "--faults", file, "--throttle-rate", "0.25", "--latency", "10ms-20ms",
		"--retry-after", "2s", "--list-lag", "1s", "--garbled-rate", "0.1", "--late", "1s-3s", "--late-rate", "0.1", "--reset-late-rate", "0.05",
		"--list-lag-max", "2s", "--list-lag-rate", "0.5", "--purge-age", "1h", "--purge-rate", "0.25")
	_, body := get(t, e.field(t, "base_url")+"/_emulator/faults")
	faults, err := emulator.DecodeFaults(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := faults.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"latency":{"min":"10ms","max":"20ms"},"throttle_rate":0.25,"retry_after":"2s","server_error_status":503,"reset_after_rate":0.2,"garbled_rate":0.1,"late_rate":0.1,"reset_late_rate":0.05,"late_min":"1s","late_max":"3s",` +
		`"list_lag":"1s","list_lag_max":"2s","list_lag_rate":0.5,"purge_age":"1h0m0s","purge_rate":0.25}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestEmulatorRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"public address":    {[]string{"--listen", ":4010"}, "--listen-any"},
		"no address":        {[]string{"--listen", ""}, "--listen is empty"},
		"rate above one":    {[]string{"--throttle-rate", "1.5"}, "throttle_rate"},
		"rates above one":   {[]string{"--throttle-rate", "0.6", "--garbled-rate", "0.6"}, "add up"},
		"latency":           {[]string{"--latency", "slow"}, "--latency must be"},
		"late":              {[]string{"--late", "1s-"}, "--late must be"},
		"late backwards":    {[]string{"--late", "2s-1s"}, "late_max"},
		"latency backwards": {[]string{"--latency", "20ms-10ms"}, "latency.max"},
		"identity":          {[]string{"--push-factor", "x"}, "--push-factor x"},
		"passkeys identity": {[]string{"--passkeys-factor", "x"}, "--passkeys-factor x"},
		"secret":            {[]string{"--totp-factor", "customer-0001=!"}, "Base32"},
		"no secret":         {[]string{"--totp-factor", "customer-0001"}, "identity=BASE32SECRET"},
		"account":           {[]string{"--account-sid", "nobody", "--auth-token", testToken}, "nobody"},
		"account, no token": {[]string{"--account-sid", "AC0000000000000000000000000000beef"}, "needs a token"},
		"rule":              {[]string{"--rule", "specific-not-found", "--rule", "no-rule"}, "specific-not-found, not-found-as-400"},
		"arguments":         {[]string{"now"}, "takes no arguments"},
	} {
		t.Run(name, func(t *testing.T) {
			e := cli(t, "", append([]string{"emulator"}, c.args...)...).want(t, exitUsage)
			if !strings.Contains(e.err, c.says) || strings.Contains(e.err, testToken) {
				t.Errorf("%q", e.err)
			}
		})
	}
	cli(t, "", "emulator", "--faults", "nowhere.json").want(t, exitFailed)
	cli(t, "", "emulator", "--faults", writeFile(t, "f.json", `{"unknown":1}`)).want(t, exitFailed)
}
