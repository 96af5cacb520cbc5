package clients

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// suiteTime bounds a suite of another language. It takes seconds.
const suiteTime = 5 * time.Minute

// suite runs the cases with a runtime of its own.
type suite struct {
	name    string
	command func(dir string) []string // dir is where the client is
	env     func(dir string) []string
	passed  *regexp.Regexp // its line for a case that passed, with the case's name
}

// TestTwilioNode is the suite of npm twilio.
func TestTwilioNode(t *testing.T) {
	suite{
		name: "node",
		command: func(string) []string {
			// Each file by its name: what a folder stands for differs between versions.
			files, _ := filepath.Glob("node/*.test.*") // the pattern is a good one
			return append([]string{"node", "--test", "--test-reporter=tap"}, files...)
		},
		env:    func(dir string) []string { return []string{"NODE_PATH=" + filepath.Join(dir, "node_modules")} },
		passed: regexp.MustCompile(`^ *ok \d+ - (\w+)$`),
	}.run(t)
}

// TestTwilioPython is the suite of PyPI twilio.
func TestTwilioPython(t *testing.T) {
	suite{
		name:    "python",
		command: func(string) []string { return []string{"python3", "-m", "unittest", "discover", "-v", "-s", "python"} },
		env:     func(dir string) []string { return []string{"PYTHONPATH=" + dir, "PYTHONDONTWRITEBYTECODE=1"} },
		passed:  regexp.MustCompile(`^test_(\w+) \(.* \.\.\. ok$`),
	}.run(t)
}

// run streams what the runner says, and fails unless every case passed by name.
func (s suite) run(t *testing.T) {
	dir, ok := installed[s.name]
	if !ok {
		t.Skip("it needs a runtime and a registry: make clients")
	}
	ctx, cancel := context.WithTimeout(t.Context(), suiteTime)
	defer cancel()
	line := s.command(dir)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Env = append(own(os.Environ()), s.env(dir)...)
	cmd.Env = append(cmd.Env, "CONTROL="+startControl(t))
	cmd.WaitDelay = 10 * time.Second // a runner that is killed may leave processes with its output
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	passed := map[string]bool{}
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			t.Log(lines.Text())
			if m := s.passed.FindStringSubmatch(lines.Text()); m != nil {
				passed[m[1]] = true
			}
		}
		out.CloseWithError(lines.Err()) // where a line is too long, its writer hears of it
	}()
	err := cmd.Run()
	in.Close()
	<-read
	if err != nil {
		t.Errorf("%s: %v", strings.Join(line, " "), err)
	}
	for _, c := range cases {
		if t.Run(c.name, func(t *testing.T) {
			if !passed[c.name] {
				t.Error("it did not pass, or is missing")
			}
		}) {
			delete(passed, c.name)
		}
	}
	for name := range passed {
		t.Errorf("%s is a case of this suite alone", name)
	}
}

// own is an environment in which no client looks for a proxy, another host or
// credentials.
func own(env []string) []string {
	return slices.DeleteFunc(env, func(pair string) bool {
		name, _, _ := strings.Cut(strings.ToUpper(pair), "=")
		return strings.HasSuffix(name, "_PROXY") || strings.HasPrefix(name, "TWILIO_") || name == "NODE_OPTIONS"
	})
}
