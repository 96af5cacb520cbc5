package browser

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	required    = flag.Bool("browser.required", false, "fail where there is no Chromium")
	screenshots = flag.String("browser.screenshots", "", "write the documents' pictures into this folder")
)

// patience bounds every wait. Nothing takes that long unless it hangs.
const patience = 90 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	code := m.Run()
	if builtIn != "" {
		_ = os.RemoveAll(builtIn)
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// builtIn is the folder of the binary, once there is one.
var builtIn string

// countersign builds the command once and returns its path.
var countersign = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "countersign-browser-")
	if err != nil {
		return "", err
	}
	builtIn = dir
	path := filepath.Join(dir, "countersign")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "../../cmd/countersign").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	timeout := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("no %s", what)
		}
	}
}

// output can be read while it is written.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// process is a command line in a process of its own.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	out  output
	done chan struct{}
}

// start runs countersign until the test ends, or earlier.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	path, err := countersign()
	must(t, err)
	p := &process{t: t, name: args[0], cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	must(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the exit code says it
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("%s:\n%s", p.name, &p.out)
		}
	})
	return p
}

// line waits for a line with the text in it.
func (p *process) line(text string) (found string) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%q of %s", text, p.name), func() bool {
		for line := range strings.Lines(p.out.String()) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				found = strings.TrimSpace(line)
				return true
			}
		}
		return false
	})
	return found
}

// field is the second word of a line.
func (p *process) field(text string) string {
	p.t.Helper()
	return strings.Fields(p.line(text))[1]
}

// ends waits for the end and checks the exit code.
func (p *process) ends(code int) string {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", p.name)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("%s: exit code %d, want %d", p.name, got, code)
	}
	return p.out.String()
}

// interrupt ends it as Ctrl-C does.
func (p *process) interrupt() string {
	p.t.Helper()
	must(p.t, p.cmd.Process.Signal(syscall.SIGINT))
	return p.ends(0)
}
