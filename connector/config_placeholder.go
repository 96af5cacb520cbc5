package connector

import (
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A placeholder stands in any text of the document for a value that is kept out
// of it: ${env:NAME} for an environment variable, ${file:PATH} for a file's
// content. $${ stands for ${ itself. What a placeholder brings is not looked
// through for further ones.

var (
	placeholderPattern = regexp.MustCompile(`\$?\$\{[^{}]*\}?`)
	envNamePattern     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// placeholder returns the name ("env:NAME", "file:PATH") that a match of
// placeholderPattern asks for, or the rule that it breaks.
func placeholder(match string) (name, fault string) {
	inner, closed := strings.CutSuffix(strings.TrimPrefix(match, "${"), "}")
	kind, rest, _ := strings.Cut(inner, ":")
	switch {
	case !closed:
		return "", "has a ${ without its }; write $${ where ${ itself is meant"
	case kind == "env" && envNamePattern.MatchString(rest), kind == "file" && rest != "":
		return inner, ""
	default:
		return "", "has a placeholder that is neither ${env:NAME} nor ${file:PATH}; write $${ where ${ itself is meant"
	}
}

// expand replaces the placeholders in text by what lookup brings. lookup
// returns a fault for a name that it has nothing for.
func expand(text string, lookup func(name string) (value, fault string)) (expanded string, faults []string) {
	expanded = placeholderPattern.ReplaceAllStringFunc(text, func(match string) string {
		if literal, ok := strings.CutPrefix(match, "$$"); ok {
			return "$" + literal
		}
		name, fault := placeholder(match)
		value := ""
		if fault == "" {
			value, fault = lookup(name)
		}
		if fault != "" {
			faults = append(faults, fault)
		}
		return value
	})
	return expanded, faults
}

// SecretNames returns the name of every placeholder in the document, as
// "env:NAME" or "file:PATH", sorted and each once. The error is a *ConfigError:
// the document can't be read, or a placeholder can't.
func SecretNames(doc []byte) ([]string, error) {
	names, faults := collectPlaceholders(doc, func(string) (string, string) { return "", "" })
	if len(faults) > 0 {
		return nil, &ConfigError{Violations: faults}
	}
	return names, nil
}

// ResolveSecrets looks up every placeholder of the document, for the host that
// sends document and secrets apart from each other. env is os.LookupEnv or the
// like, readFile is os.ReadFile or the like; a file's last line end is cut off.
// The error is a *ConfigError that names each placeholder that has no value.
func ResolveSecrets(doc []byte, env func(string) (string, bool), readFile func(string) ([]byte, error)) (map[string]string, error) {
	secrets := map[string]string{}
	_, faults := collectPlaceholders(doc, func(name string) (value, fault string) {
		kind, rest, _ := strings.Cut(name, ":")
		if kind == "env" {
			value, ok := env(rest)
			if !ok {
				return "", "${" + name + "}: the environment variable is not set"
			}
			secrets[name] = value
			return value, ""
		}
		content, err := readFile(rest)
		if err != nil {
			return "", "${" + name + "}: the file " + fileFault(err)
		}
		secrets[name] = withoutLineEnd(string(content))
		return secrets[name], ""
	})
	if len(faults) > 0 {
		return nil, &ConfigError{Violations: faults}
	}
	return secrets, nil
}

// withoutLineEnd cuts off the one line end that editors and echo put behind a secret.
func withoutLineEnd(s string) string {
	if cut, ok := strings.CutSuffix(s, "\r\n"); ok {
		return cut
	}
	return strings.TrimSuffix(s, "\n")
}

// fileFault puts into words why a file can't be read, without the error's own
// text, which a readFile of somebody else's may have filled with anything.
func fileFault(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist"
	case errors.Is(err, fs.ErrPermission):
		return "may not be read by this user"
	default:
		return "can't be read"
	}
}

// collectPlaceholders walks all texts of the document and calls lookup once for
// each placeholder's name.
func collectPlaceholders(doc []byte, lookup func(name string) (value, fault string)) (names []string, faults []Violation) {
	root, faults := loadDocument(doc)
	if len(faults) > 0 {
		return nil, faults
	}
	known := map[string]string{}
	walkScalars(root, "", func(path string, n *yaml.Node) {
		_, wrong := expand(n.Value, func(name string) (value, fault string) {
			fault, seen := known[name]
			if !seen {
				value, fault = lookup(name)
				known[name] = fault
				names = append(names, name)
			}
			return value, fault
		})
		for _, fault := range wrong {
			faults = append(faults, Violation{Path: path, Message: fault})
		}
	})
	slices.Sort(names)
	return names, faults
}
