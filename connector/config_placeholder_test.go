package connector_test

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/connector"
)

func TestSecretNames(t *testing.T) {
	for name, tc := range map[string]struct {
		doc  string
		want []string
	}{
		"none":            {"a: b", nil},
		"empty document":  {"", nil},
		"sorted and once": {"a: ${file:/x}\nb: [\"${env:B}-${env:A}\", '${env:B}']", []string{"env:A", "env:B", "file:/x"}},
		"unknown keys":    {"nobody: {knows: \"${env:A}\"}", []string{"env:A"}},
		"escaped":         {"a: $${env:A}\nb: $$${env:B}", nil},
		"lone dollars":    {"a: $5 and $$ and $(env:A) and {env:A}", nil},
		"JSON":            {"{\"a\": \"\\u0024{env:A}\"}", []string{"env:A"}},
		"in no key":       {"\"${env:A}\": b", nil},
		"odd file":        {"a: \"${file:C:\\\\x y}\"", []string{`file:C:\x y`}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := connector.SecretNames([]byte(tc.doc))
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("%q, %v, want %q", got, err, tc.want)
			}
		})
	}
	for name, tc := range map[string]struct{ doc, path string }{
		"no document":           {"a: [", ""},
		"not closed":            {"a:\n  - b: ${env:A", "a[0].b"},
		"no kind":               {"a: \"${A}\"", "a"},
		"no name":               {"a: \"${env:}\"", "a"},
		"no name of a variable": {"a: \"${env:A B}\"", "a"},
		"nested":                {"a: \"${env:${env:A}}\"", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			names, err := connector.SecretNames([]byte(tc.doc))
			if v := violations(t, err); v[0].Path != tc.path || names != nil {
				t.Errorf("%q, %+v, want a violation at %q", names, v, tc.path)
			}
		})
	}
}

func TestResolveSecrets(t *testing.T) {
	env := map[string]string{"API_SECRET": configSecret, "EMPTY": ""}
	files := map[string]string{
		"/run/secrets/auth_token": "0123456789\n", "/two": "a\n\n", "/dos": "a\r\n", "/bare": "a\r", "/plain": " a ", "/nothing": "",
	}
	lookupEnv := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	readFile := func(path string) ([]byte, error) {
		switch content, ok := files[path]; {
		case ok:
			return []byte(content), nil
		case path == "/locked":
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
		case path == "/odd":
			return nil, errors.New("read " + configSecret)
		default:
			return nil, fs.ErrNotExist
		}
	}
	got, err := connector.ResolveSecrets(configFile(t, "full.yaml"), lookupEnv, readFile)
	if err != nil || !maps.Equal(got, fullSecrets) {
		t.Errorf("full.yaml: %q, %v", got, err)
	}
	got, err = connector.ResolveSecrets([]byte(`["${file:/two}"]`), lookupEnv, readFile)
	if v := violations(t, err); got != nil || len(v) != 1 {
		t.Errorf("a list: %q, %+v", got, v)
	}
	got, err = connector.ResolveSecrets([]byte(`a: ["${file:/two}${file:/dos}", "${file:/bare}", "${file:/plain}", "${file:/nothing}${env:EMPTY}"]`), lookupEnv, readFile)
	want := map[string]string{"file:/two": "a\n", "file:/dos": "a", "file:/bare": "a\r", "file:/plain": " a ", "file:/nothing": "", "env:EMPTY": ""}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}

	got, err = connector.ResolveSecrets([]byte(`a: ["${env:GONE}", "${file:/gone}", "${file:/locked}", "${file:/odd}", "${env:API_SECRET}", "${env:GONE}"]`), lookupEnv, readFile)
	wantMessage := `the configuration is not valid:
  a[0]: ${env:GONE}: the environment variable is not set
  a[1]: ${file:/gone}: the file does not exist
  a[2]: ${file:/locked}: the file may not be read by this user
  a[3]: ${file:/odd}: the file can't be read
  a[5]: ${env:GONE}: the environment variable is not set`
	if got != nil || err == nil || err.Error() != wantMessage {
		t.Errorf("got %q and\n%v, want\n%s", got, err, wantMessage)
	}
}

// What a placeholder brings is not looked through for further placeholders.
func TestSecretsAreTakenAsTheyAre(t *testing.T) {
	const token = "${env:OTHER}$${x}$$"
	cfg, err := connector.ParseConfig(configFile(t, "minimal.yaml"), map[string]string{"env:AUTH_TOKEN": token})
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Accounts["main"].AuthToken.Reveal(); got != token {
		t.Errorf("the token is %q, want %q", got, token)
	}
}

// Each value of a document in turn is a secret that ended up in the wrong
// place, as it is or behind a placeholder. No message may show it.
func TestNoMessageShowsAValue(t *testing.T) {
	doc := string(configFile(t, "full.yaml"))
	secrets := maps.Clone(fullSecrets)
	secrets["env:S"] = configSecret
	lines := strings.Split(doc, "\n")
	refused := 0
	for i, line := range lines {
		key, value, ok := strings.Cut(line, ": ")
		sep := ": "
		if item, isItem := strings.CutPrefix(line, "    - "); isItem {
			key, value, ok, sep = "    -", item, true, " "
		}
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		for _, with := range []string{
			configSecret, "${env:S}", value + configSecret, value + "${env:S}", "[" + configSecret + "]", "*" + configSecret,
			"!!int " + configSecret, "!" + configSecret + " a", "'" + configSecret, "{" + configSecret + "}", "\"\\" + configSecret,
		} {
			changed := slices.Clone(lines)
			changed[i] = key + sep + with
			_, err := connector.ParseConfig([]byte(strings.Join(changed, "\n")), secrets)
			if err == nil {
				continue
			}
			refused++
			// As a key, in {…}, it is shown: a key that is unknown has to be named.
			if strings.Contains(err.Error(), configSecret) && !strings.HasPrefix(with, "{") {
				t.Errorf("with %q the message shows it: %v", changed[i], err)
			}
		}
	}
	if refused < 200 {
		t.Errorf("only %d documents were refused", refused)
	}
}
