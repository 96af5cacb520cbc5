package plugin_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/countersign/countersign/plugin/pluginpb"
)

const token = "c0ffee-c0ffee-c0ffee"

// The plugin has the environment of its Spec and the handshake's variables, and
// nothing of the host's. Secrets are in neither, nor in its arguments; they
// arrive by Configure, anew for every start.
func TestEnvironmentAndSecrets(t *testing.T) {
	t.Setenv("COUNTERSIGN_TEST_CANARY", "of the host")
	o := newObserver(t)
	spec := o.spec()
	spec.Args = []string{"--visible"}
	spec.Env = append(spec.Env, "TZ=UTC")
	starts := 0
	spec.Secrets = func(context.Context) (map[string]string, error) {
		starts++
		return map[string]string{"env:TOKEN": fmt.Sprint(token, starts)}, nil
	}
	h := host(t, spec)
	for start := 1; start <= 2; start++ {
		p := o.next()
		p.wait("call:Start")
		if got, want := p.do("secrets", message{}).Text, fmt.Sprint(token, start); got != want {
			t.Errorf("secret %q, want %q", got, want)
		}
		environ := p.do("environ", message{}).List
		if !slices.Contains(environ, "TZ=UTC") {
			t.Error("the Spec's environment is missing")
		}
		for _, entry := range environ {
			key, _, _ := strings.Cut(entry, "=")
			if !strings.HasPrefix(key, "PLUGIN_") && !strings.HasPrefix(key, "COUNTERSIGN_PLUGIN") && !slices.Contains(spec.Env, entry) {
				t.Errorf("leaked: %s", entry)
			}
		}
		for _, file := range []string{"environ", "cmdline"} {
			content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.pid, file))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(content), token) || strings.Contains(string(content), "CANARY") {
				t.Errorf("%s shows a secret: %q", file, content)
			}
			if file == "cmdline" && !strings.Contains(string(content), "--visible") {
				t.Errorf("cmdline %q", content)
			}
		}
		if start == 1 {
			p.send("crash", message{})
		}
	}
	h.cancel()
	if err := h.end(); err != nil {
		t.Error(err)
	}
}

// Nobody but the host that started a plugin can call it, though anybody of the
// same user can reach its socket.
func TestOnlyTheHostIsLetIn(t *testing.T) {
	o := newObserver(t)
	h := host(t, o.spec())
	o.next().wait("call:Start")
	socket := o.socketOf()
	for name, creds := range map[string]credentials.TransportCredentials{
		"plain text":     insecure.NewCredentials(),
		"no certificate": credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}),
	} {
		conn, err := grpc.NewClient("passthrough:///plugin", grpc.WithTransportCredentials(creds),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pluginpb.NewConnectorClient(conn).Info(t.Context(), &pluginpb.InfoRequest{}); err == nil {
			t.Errorf("%s: let in", name)
		}
		_ = conn.Close()
	}
	h.cancel()
	if err := h.end(); err != nil {
		t.Error(err)
	}
}

func secretToken(context.Context) (map[string]string, error) {
	return map[string]string{"env:TOKEN": token}, nil
}
