package connector_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/countersign/countersign/connector"
)

// addConfigs makes every document of the tests a seed.
func addConfigs(f *testing.F) {
	f.Helper()
	for _, pattern := range []string{"testdata/config/*.*", "testdata/config/faults/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			doc, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(doc)
		}
	}
}

// Whatever the document: no panic, one type of error, and no secret in it.
// What is accepted has no violations, and is the same after a variable was
// written into it that says what it says already.
func FuzzParseConfig(f *testing.F) {
	addConfigs(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		secrets := map[string]string{}
		names, err := connector.SecretNames(doc)
		if err != nil {
			violations(t, err)
		}
		for _, name := range names {
			secrets[name] = configSecret
		}
		cfg, err := connector.ParseConfig(doc, secrets)
		if err != nil {
			violations(t, err)
			if strings.Contains(err.Error(), configSecret) && !bytes.Contains(doc, []byte(configSecret)) {
				t.Fatalf("the error shows a secret: %v", err)
			}
			return
		}
		if v := cfg.Validate(); v != nil {
			t.Fatalf("accepted with violations: %+v", v)
		}
		// A $ in front of the group's own text would be read as a placeholder's.
		group := strings.ReplaceAll(cfg.Kafka.Group, "${", "$${")
		out, err := connector.ApplyEnv(doc, []string{"COUNTERSIGN_KAFKA_GROUP=" + group})
		if err != nil {
			if v := violations(t, err); v[0].Path == "" { // such as !!binary, which can be read but not written
				return
			}
			t.Fatal(err)
		}
		again, err := connector.ParseConfig(out, secrets)
		if err != nil || !reflect.DeepEqual(cfg, again) {
			t.Fatalf("written again it reads as\n%+v, %v, was\n%+v\n%s", again, err, cfg, out)
		}
	})
}

// Whatever the variable and its value: no panic, one type of error that does
// not show the value, and a document that can be read.
func FuzzApplyEnv(f *testing.F) {
	f.Add("KAFKA_BROKERS", "a:1,b:2")
	f.Add("ACCOUNTS__MAIN__AUTH_TOKEN", "x")
	f.Add("ACCOUNTS__MAIN__RATE__PER_SECOND", "1e3")
	f.Add("WINDOW__SPAN", "${env:X}")
	f.Add("ACCOUNTS__A__B__C", "")
	doc, err := os.ReadFile("testdata/config/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		out, err := connector.ApplyEnv(doc, []string{"COUNTERSIGN_" + name + "=" + configSecret + value})
		if err != nil {
			violations(t, err)
			if strings.Contains(err.Error(), configSecret) && !strings.Contains(name, configSecret) {
				t.Fatalf("the error shows the value: %v", err)
			}
			return
		}
		if _, err := connector.ParseConfig(out, fullSecrets); err != nil {
			for _, v := range violations(t, err) {
				if v.Path == "" {
					t.Fatalf("%v in\n%s", err, out)
				}
			}
		}
	})
}
