package architecture_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/countersign/countersign/"

// root is the repository, seen from this package's folder.
var root = filepath.Join("..", "..")

// mayImport is the map of the house: for each package, which of ours it may
// import outside of its tests. A new package gets its line here.
//
//	cmd → plugin → connector → {connector/challenge, connector/kafka} → {ratelimit, schemas}
var mayImport = map[string][]string{
	"ratelimit":       {},
	"schemas":         {},
	"internal/secret": {},

	"connector/challenge/internal/wire": {"internal/secret", "schemas"},
	"connector/challenge/read":          {"connector/challenge/internal/wire", "internal/secret", "schemas"},
	"connector/challenge/verdict":       {"connector/challenge/read", "schemas"},
	"connector/challenge":               {"connector/challenge/internal/wire", "connector/challenge/read", "connector/challenge/verdict", "internal/secret", "schemas"},
	"connector/kafka":                   {"internal/secret", "schemas"},
	"connector":                         {"connector/challenge", "connector/challenge/read", "connector/challenge/verdict", "connector/kafka", "internal/secret", "ratelimit", "schemas"},
	"connector/redrive":                 {"connector/kafka", "schemas"},
	"connector/replay":                  {"connector/challenge/read", "connector/challenge/verdict", "connector/kafka", "schemas"},
	"connector/audit":                   {"connector/challenge/read", "connector/kafka", "internal/secret", "ratelimit", "schemas"},

	"plugin/pluginpb":   {},
	"plugin":            {"connector", "connector/kafka", "internal/secret", "internal/tracing", "plugin/pluginpb", "schemas"},
	"plugin/plugintest": {"connector", "plugin"},

	"internal/tracing": {"connector"},

	"internal/authority":         {},
	"internal/benchaudit":        {"connector/kafka", "integration/cluster", "schemas"},
	"internal/benchkafka":        {"connector", "connector/kafka", "integration/cluster", "internal/emulator", "schemas"},
	"internal/broker":            {},
	"internal/broker/brokertest": {},
	"internal/device":            {"internal/secret"},
	"internal/emulator":          {"internal/secret"},
	"internal/phones":            {"internal/device", "internal/emulator"},
	"internal/demo":              {"connector", "connector/kafka", "internal/broker", "internal/device", "internal/emulator", "internal/phones", "plugin", "schemas"},
	"internal/architecture":      {},
	"internal/guards":            {},
	"integration":                {},
	"integration/clients":        {},
	"integration/browser":        {},
	"integration/cluster":        {"connector/kafka", "internal/broker"},
	"integration/interop":        {},
	"integration/scale":          {},
	"integration/compose":        {},

	"cmd/countersign": {
		"connector", "connector/audit", "connector/kafka", "connector/redrive", "connector/replay", "internal/broker", "internal/demo", "internal/device", "internal/emulator", "internal/phones", "internal/secret", "internal/tracing", "plugin", "schemas",
	},
	"cmd/countersign-plugin": {"plugin"},
}

// speakers lists, for what others wrote, the only ones of ours that may import
// it outside of their tests.
var speakers = map[string][]string{
	"github.com/hashicorp/go-hclog":  {"plugin"},
	"github.com/hashicorp/go-plugin": {"plugin"},
	"github.com/prometheus":          {"cmd/countersign", "connector"},
	"github.com/segmentio/kafka-go":  {"connector/kafka", "internal/benchaudit", "internal/benchkafka"}, // the latter two to compete with it
	"github.com/sony/gobreaker":      {"connector"},
	"github.com/spf13/cobra":         {"cmd/countersign"},
	"github.com/testcontainers":      {"integration/cluster"},
	"github.com/moby/moby":           {"integration/cluster"},
	"github.com/twmb/franz-go":       {"internal/broker"},
	"go.opentelemetry.io/otel":       {"connector", "internal/tracing"},
	"go.opentelemetry.io/otel/sdk":   {"internal/tracing"},
	"go.yaml.in/yaml":                {"cmd/countersign", "connector"},

	"go.opentelemetry.io/otel/exporters": {"internal/tracing"},

	"golang.org/x/time":          {"cmd/countersign", "internal/demo", "ratelimit"},
	"google.golang.org/grpc":     {"plugin", "plugin/pluginpb"},
	"google.golang.org/protobuf": {"plugin", "plugin/pluginpb"},
	"net/http": {
		"cmd/countersign", "connector/challenge", "connector/challenge/internal/wire", "connector/challenge/read",
		"internal/benchkafka", "internal/demo", "internal/device", "internal/emulator", "internal/phones",
	},

	// The tests' own tools and judges are no part of the product.
	"github.com/chromedp":        {},
	"github.com/golang-jwt":      {},
	"github.com/santhosh-tekuri": {},
	"github.com/twilio":          {},
	"go.uber.org/goleak":         {},
	"golang.org/x/net":           {},
	"net/http/httptest":          {},
	"pgregory.net/rapid":         {},
	"testing":                    {},
}

// neverReaches lists what must not be among everything that a package is built
// of, however many steps away.
var neverReaches = map[string][]string{
	"connector/challenge/read":    {module + "connector/challenge"},
	"connector/challenge/verdict": {module + "connector/challenge"},
	// Neither audit nor replay can spend: what they are built of can only read the API.
	"connector/replay":    {module + "connector/challenge", module + "connector"},
	"connector/audit":     {module + "connector/challenge", module + "connector"},
	"connector/challenge": {module + "connector/kafka", module + "ratelimit", "github.com/segmentio/kafka-go"},
	"connector/kafka":     {module + "connector/challenge", module + "ratelimit", "net/http"},
	"connector":           {"go.opentelemetry.io/otel/sdk", "google.golang.org/grpc", "github.com/hashicorp/go-plugin", module + "plugin"},
	// The binary that a host loads carries nothing that plays a part in a demo.
	"cmd/countersign-plugin": {"github.com/twmb/franz-go", module + "internal/emulator", module + "internal/broker", module + "internal/demo", module + "internal/phones", "github.com/spf13/cobra", "github.com/testcontainers", "github.com/moby"},
	// The containers are the tests'.
	"cmd/countersign": {"github.com/testcontainers", "github.com/moby", module + "integration/cluster"},
}

type goPackage struct {
	ImportPath                         string
	Name                               string
	Imports, TestImports, XTestImports []string
	Deps                               []string
}

// house returns our packages by their path inside the module.
func house(t *testing.T) map[string]goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Name,Imports,TestImports,XTestImports,Deps", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	packages := map[string]goPackage{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[strings.TrimPrefix(p.ImportPath, module)] = p
	}
}

// under reports whether a package is, or is inside, the module or package named.
func under(pkg, name string) bool {
	rest, ok := strings.CutPrefix(pkg, name)
	return ok && (rest == "" || rest[0] == '/')
}

func TestImportDirection(t *testing.T) {
	packages := house(t)
	for name, p := range packages {
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("%s is not on the map: give it its line in mayImport", name)
			continue
		}
		for _, imported := range p.Imports {
			if ours, ok := strings.CutPrefix(imported, module); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s must not import %s", name, ours)
			}
		}
	}
	for name := range mayImport {
		if _, ok := packages[name]; !ok {
			t.Errorf("%s is on the map and not in the house", name)
		}
	}
}

func TestOnlyOneSpeaks(t *testing.T) {
	for name, p := range house(t) {
		for _, imported := range p.Imports {
			owner := ""
			for foreign := range speakers {
				if under(imported, foreign) && len(foreign) > len(owner) {
					owner = foreign
				}
			}
			if owner != "" && !slices.Contains(speakers[owner], name) {
				t.Errorf("%s must not import %s, only %q may", name, imported, speakers[owner])
			}
		}
	}
}

func TestNeverReaches(t *testing.T) {
	packages := house(t)
	for name, forbidden := range neverReaches {
		p, ok := packages[name]
		if !ok {
			t.Errorf("there is no package %s", name)
			continue
		}
		for _, dep := range p.Deps {
			// The package itself is no reason to forbid what is inside its folder.
			if slices.ContainsFunc(forbidden, func(f string) bool { return dep == f || under(dep, f) && !strings.HasPrefix(f, module) }) {
				t.Errorf("%s is built of %s", name, dep)
			}
		}
	}
}

// A package's name says what it holds.
func TestPackageNames(t *testing.T) {
	for path, p := range house(t) {
		if slices.Contains([]string{"util", "utils", "common", "shared", "test", "tests", "helper", "helpers", "misc", "base", "lib", "types", "models"}, p.Name) {
			t.Errorf("package %s in %s: the name says nothing", p.Name, path)
		}
		if strings.ContainsAny(p.Name, "_ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			t.Errorf("package %s in %s: small letters only", p.Name, path)
		}
	}
}

// The checks above would pass if they looked at nothing.
func TestTheRulesCanFail(t *testing.T) {
	for _, tc := range []struct {
		pkg, name string
		want      bool
	}{
		{"google.golang.org/grpc", "google.golang.org/grpc", true},
		{"google.golang.org/grpc/codes", "google.golang.org/grpc", true},
		{"google.golang.org/grpcx", "google.golang.org/grpc", false},
		{"google.golang.org", "google.golang.org/grpc", false},
	} {
		if got := under(tc.pkg, tc.name); got != tc.want {
			t.Errorf("under(%q, %q) = %v", tc.pkg, tc.name, got)
		}
	}
	packages := house(t)
	if len(packages["connector"].Imports) == 0 || !slices.Contains(packages["connector"].Deps, "net/http") {
		t.Error("go list tells nothing of the connector's imports")
	}
}
