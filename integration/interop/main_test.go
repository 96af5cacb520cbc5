package interop

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	"github.com/countersign/countersign/integration/cluster"
)

var asked = flag.Bool("interop", false, "run the tests; without it there are none")

// kafka is the cluster of all tests.
var kafka *cluster.JarsCluster

func TestMain(m *testing.M) { os.Exit(run(m)) }

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
	var err error
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
