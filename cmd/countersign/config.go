package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connector"
)

// exampleConfig fits the emulator as it starts by default.
//
//go:embed testdata/config.yaml
var exampleConfig []byte

// configFlag says where the configuration is.
type configFlag struct{ path string }

func (f *configFlag) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.path, "config", "c", "",
		"YAML or JSON `file` (default: $COUNTERSIGN_CONFIG; without either, the environment alone)")
}

// document is a configuration as it is written: the file and, over it, the
// COUNTERSIGN_* environment, with its placeholders intact.
type document struct {
	from string // for messages
	data []byte
}

// read reads the document. A *connector.ConfigError names the variables that
// fit nothing; the document is then as it is without them.
func (f configFlag) read() (document, error) {
	path := f.path
	if path == "" {
		path = os.Getenv("COUNTERSIGN_CONFIG")
	}
	doc := document{from: path}
	if path == "" {
		doc.from = "the environment"
	} else {
		data, err := os.ReadFile(path)
		if err != nil {
			return document{}, fmt.Errorf("configuration: %w", err)
		}
		doc.data = data
	}
	environ := os.Environ()
	laid, err := connector.ApplyEnv(doc.data, environ)
	if faulty, ok := errors.AsType[*connector.ConfigError](err); ok {
		// Without the faulty variables the rest can still be judged.
		if laid, again := connector.ApplyEnv(doc.data, without(environ, faulty.Violations)); again == nil {
			doc.data = laid
		}
		return doc, err
	}
	doc.data = laid
	return doc, err
}

// without drops the variables that violations name.
func without(environ []string, violations []connector.Violation) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.ContainsFunc(violations, func(v connector.Violation) bool { return v.Path == name })
	})
}

// secrets looks up what the document's placeholders stand for.
func (d document) secrets() (map[string]string, error) {
	return connector.ResolveSecrets(d.data, os.LookupEnv, os.ReadFile)
}

// load reads the configuration and everything that it refers to. The error, if
// it is about the content, is one *connector.ConfigError with every fault.
func (f configFlag) load() (document, connector.Config, error) {
	doc, err := f.read()
	var faulty *connector.ConfigError
	if err != nil && !errors.As(err, &faulty) {
		return doc, connector.Config{}, err
	}
	var faults []connector.Violation
	if faulty != nil {
		faults = faulty.Violations
	}
	cfg, err := doc.parse()
	if errors.As(err, &faulty) {
		for _, v := range faulty.Violations {
			if !slices.Contains(faults, v) { // a document that can't be read fails twice
				faults = append(faults, v)
			}
		}
	} else if err != nil {
		return doc, connector.Config{}, err
	}
	if len(faults) > 0 {
		return doc, connector.Config{}, fmt.Errorf("%s: %w", doc.from, &connector.ConfigError{Violations: faults})
	}
	return doc, cfg, nil
}

// parse makes a Config of the document. Where secrets are missing, it reports
// them together with every other fault.
func (d document) parse() (connector.Config, error) {
	secrets, err := d.secrets()
	if err == nil {
		return connector.ParseConfig(d.data, secrets)
	}
	var missing *connector.ConfigError
	if !errors.As(err, &missing) {
		return connector.Config{}, err
	}
	faults := missing.Violations
	_, err = connector.ParseConfig(d.data, d.present())
	if others, ok := errors.AsType[*connector.ConfigError](err); ok {
		for _, v := range others.Violations {
			if !slices.ContainsFunc(missing.Violations, func(m connector.Violation) bool { return m.Path == v.Path }) {
				faults = append(faults, v)
			}
		}
	}
	return connector.Config{}, &connector.ConfigError{Violations: faults}
}

// present is what secrets would return if it left out those that are missing.
func (d document) present() map[string]string {
	absent := map[string]bool{}
	found, err := connector.ResolveSecrets(d.data,
		func(name string) (string, bool) {
			value, ok := os.LookupEnv(name)
			absent["env:"+name] = !ok
			return value, true
		},
		func(path string) ([]byte, error) {
			content, err := os.ReadFile(path)
			absent["file:"+path] = err != nil
			return content, nil
		})
	if err != nil {
		return nil // no secret is looked up in a document that can't be read
	}
	for name, gone := range absent {
		if gone {
			delete(found, name)
		}
	}
	return found
}
