package scale

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	scaleRun   = flag.Bool("scale.run", false, "run TestScale")
	scaleParts = flag.String("scale.partitions", "1,8,32,64", "the numbers of partitions")
	scaleSizes = flag.String("scale.members", "1,2,4,8", "the numbers of members")
	scaleIdle  = flag.Duration("scale.idle", 25*time.Second, "how long idle members are watched")
	scaleOut   = flag.String("scale.out", "", "also write the figures to this file, as JSON")
	profileDir = flag.String("scale.profiles", "", "write CPU and heap profiles of idle members into this folder")

	soakFor  = flag.Duration("soak.for", 0, "run TestSoak for so long")
	soakRate = flag.Int("soak.rate", 50, "requests a second")
	soakOut  = flag.String("soak.out", "", "also write every sample to this file, as JSON lines")
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if config := os.Getenv(memberEnv); config != "" {
		if err := runMember(context.Background(), config); err != nil {
			fmt.Fprintln(os.Stderr, "member:", err)
			return 1
		}
		return 0
	}
	flag.Parse()
	// What takes minutes and a broker of its own is there only when asked for.
	var out []string
	if !*scaleRun {
		out = append(out, "^TestScale$")
	}
	if *soakFor == 0 {
		out = append(out, "^TestSoak$")
	}
	if len(out) > 0 {
		if err := flag.Set("test.skip", strings.Join(out, "|")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
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
