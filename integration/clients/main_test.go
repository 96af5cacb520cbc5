package clients

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// asked lets the suites run that need a runtime of their own and packages from
// its registry.
var asked = flag.Bool("clients", false, "install the clients for JavaScript and Python, and run their suites")

// installed is where each client is, by the name of its suite.
var installed = map[string]string{}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	if *asked {
		for _, name := range []string{"node", "python"} {
			dir, err := install(context.Background(), name)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			installed[name] = dir
		}
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// install brings one client into a folder that the script names.
func install(ctx context.Context, name string) (string, error) {
	cmd := exec.CommandContext(ctx, "./install.sh", name)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("install.sh %s: %w", name, err)
	}
	return strings.TrimSpace(string(out)), nil
}
