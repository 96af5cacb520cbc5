package interop

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/countersign/countersign/integration/cluster"
)

var asked = flag.Bool("interop", false, "run the tests; without it there are none")

// kafka is the cluster of all tests.
var kafka *cluster.JarsCluster

// packages is the folder with the verifier's Python packages.
var packages string

func TestMain(m *testing.M) { os.Exit(run(m)) }

// install brings the Python packages. A registry that does not answer must not hold up
// everything, and what is killed must leave no pip behind: so its whole group is.
func install(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "../clients/install.sh", "verifier")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	return cmd.Output()
}

func run(m *testing.M) int {
	flag.Parse()
	if !*asked {
		fmt.Println("nothing is asked for: make interop")
		return 0
	}
	if _, err := exec.LookPath("kcat"); err != nil {
		fmt.Fprintln(os.Stderr, "there is no kcat: install the Debian package kcat (apt-get install kcat)")
		return 1
	}
	ctx := context.Background()
	dir, err := install(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "../clients/install.sh verifier:", err)
		return 1
	}
	packages = strings.TrimSpace(string(dir))
	if kafka, err = cluster.StartJars(ctx, cluster.JarsConfig{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		fmt.Fprintln(os.Stderr, "make kafka-jars brings the jars; it needs the Debian packages default-jre-headless and maven")
		return 1
	}
	code := m.Run()
	if err := kafka.Close(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}
