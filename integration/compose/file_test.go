package compose_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type service struct {
	Image       string
	Profiles    []string
	Environment map[string]string
	Ports       []string
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	PullPolicy  string   `yaml:"pull_policy"`
	Build       any
	Healthcheck struct{ Test []string }
}

var (
	pinned = regexp.MustCompile(`:v?\d+\.\d+\.\d+`)
	secret = regexp.MustCompile(`(?i)token|passw|secret|credential|_key`)
)

// What is brought up by one command is reached from this machine only, runs
// without rights, is of a known version and holds no secret.
func TestComposeFile(t *testing.T) {
	var file struct{ Services map[string]service }
	read(t, filepath.Join("..", "..", "docker-compose.yml"), yaml.Unmarshal, &file)
	for _, name := range []string{"kafka", "emulator", "countersign", "prometheus", "grafana"} {
		if _, ok := file.Services[name]; !ok {
			t.Errorf("there is no service %s", name)
		}
	}
	for name, s := range file.Services {
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: port %s is for other machines too", name, port)
			}
		}
		if s.Build == nil && !pinned.MatchString(s.Image) {
			t.Errorf("%s: image %s is of no known version", name, s.Image)
		}
		if s.Build != nil && s.PullPolicy != "build" {
			t.Errorf("%s: an image of ours may come from a registry", name)
		}
		if len(s.Healthcheck.Test) == 0 {
			t.Errorf("%s has no health check", name)
		}
		if len(s.CapDrop) != 1 || s.CapDrop[0] != "ALL" || len(s.SecurityOpt) != 1 || s.SecurityOpt[0] != "no-new-privileges:true" {
			t.Errorf("%s: %v %v", name, s.CapDrop, s.SecurityOpt)
		}
		for key, value := range s.Environment {
			if secret.MatchString(key) && value != "" {
				t.Errorf("%s: %s has a value in the file", name, key)
			}
		}
		monitors := name == "prometheus" || name == "grafana"
		if monitors != (len(s.Profiles) == 1 && s.Profiles[0] == "monitoring") {
			t.Errorf("%s: profiles %v", name, s.Profiles)
		}
	}
}

func TestDockerfile(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^ARG GO_IMAGE=golang:\d+\.\d+\.\d+-\w+$`, `(?m)^FROM scratch$`, `(?m)^USER \d+:\d+$`,
		`(?m)^HEALTHCHECK .*"healthcheck"`, `CGO_ENABLED=0`, `-trimpath`,
	} {
		if !regexp.MustCompile(want).Match(text) {
			t.Errorf("nothing matches %s", want)
		}
	}
}
