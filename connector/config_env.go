package connector

import (
	"bytes"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// envPrefix begins the name of every variable that this project reads.
const envPrefix = "COUNTERSIGN_"

// reservedEnv matches what stands behind the prefix in variables that are no
// part of the document: the program's own (the name of the document, the log,
// the plugin's handshake and the host), a test's, a container image's, and
// those that Kubernetes sets in every pod beside a service called countersign.
var reservedEnv = regexp.MustCompile(`^(CONFIG|(PLUGIN|HOST|LOG|TEST)(_.*)?|.*_IMAGE` +
	`|(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_.*)?)?))$`)

// ApplyEnv lays the COUNTERSIGN_* variables of environ ("NAME=value", as
// os.Environ has them) over the document and returns the document that results.
//
// A variable's name is the prefix and the path in capitals, with two
// underscores between the levels: COUNTERSIGN_KAFKA__SESSION_TIMEOUT,
// COUNTERSIGN_ACCOUNTS__MAIN__AUTH_TOKEN. One does as well (COUNTERSIGN_KAFKA_BROKERS),
// except on either side of an account's name. An account's name matches
// whatever its case, with an underscore for a dot or a dash in it; a name that
// the document doesn't have becomes a new account's, in small letters. Values
// are written as in the document, a list with commas between its items. An
// empty variable counts as not set. The value of a secret field is not copied:
// the document gets the placeholder ${env:NAME}.
//
// A variable that fits nothing is a fault, unless its name is reserved (behind
// the prefix CONFIG, PLUGIN*, HOST*, LOG*, TEST*, *_IMAGE, or what Kubernetes
// sets for a service) or stands in a placeholder of the document. The error is
// a *ConfigError; where it is about a variable, the Path is the variable's
// name. No message shows a value.
func ApplyEnv(doc []byte, environ []string) ([]byte, error) {
	root, faults := loadDocument(doc)
	if len(faults) > 0 {
		return nil, &ConfigError{Violations: faults}
	}
	e := envOverlay{root: root, setBy: map[string]string{}}
	if e.root == nil {
		e.root = &yaml.Node{Kind: yaml.MappingNode}
	}
	mentioned, _ := collectPlaceholders(doc, func(string) (string, string) { return "", "" })
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		variable, value, _ := strings.Cut(entry, "=")
		name, ours := strings.CutPrefix(variable, envPrefix)
		if ours && value != "" && !reservedEnv.MatchString(name) && !slices.Contains(mentioned, "env:"+variable) {
			e.apply(variable, name, value)
		}
	}
	if len(e.violations) > 0 {
		return nil, &ConfigError{Violations: e.violations}
	}
	if len(e.setBy) == 0 {
		return doc, nil
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(e.root); err != nil {
		// Its text may quote the document.
		return nil, &ConfigError{Violations: []Violation{{Message: "the document holds a value that can't be written again"}}}
	}
	return out.Bytes(), nil
}

// envOverlay writes variables into a document.
type envOverlay struct {
	configCheck
	root  *yaml.Node
	setBy map[string]string // path to variable
}

func (e *envOverlay) apply(variable, name, value string) {
	leaf, account, ok := matchEnv(name)
	if !ok {
		e.add(variable, "is not a variable that is known%s", envHint(name))
		return
	}
	path := slices.Clone(leaf.path)
	if account != "" {
		known, fault := e.account(account)
		if fault != "" {
			e.add(variable, "%s", fault)
			return
		}
		path[slices.Index(path, anyName)] = known
	}
	if other, twice := e.setBy[path.String()]; twice {
		e.add(variable, "sets the same as %s", other)
		return
	}
	n := envNode(variable, value, leaf.kind)
	var trial decoder
	trial.value("", n, reflect.New(leaf.kind).Elem())
	if len(trial.violations) > 0 && leaf.kind != secretType && !strings.Contains(value, "${") {
		e.add(variable, "must be %s", describeType(leaf.kind))
		return
	}
	e.setBy[path.String()] = variable
	e.set(variable, path, n)
}

// matchEnv finds what a variable's name, without the prefix, means, and the
// account in it if there is one.
func matchEnv(name string) (leaf configLeaf, account string, ok bool) {
	for _, leaf := range configLeaves(configType, nil) {
		rest, account, path := name, "", leaf.path
		if i := slices.Index(path, anyName); i >= 0 {
			above := envPath(path[:i]) + "__"
			if !strings.HasPrefix(name, above) {
				continue
			}
			account, rest, _ = strings.Cut(name[len(above):], "__")
			path = path[i+1:]
			if account == "" {
				continue
			}
		}
		if strings.ReplaceAll(rest, "__", "_") == strings.ReplaceAll(envPath(path), "__", "_") {
			return leaf, account, true
		}
	}
	return configLeaf{}, "", false
}

func envPath(path configPath) string { return strings.ToUpper(strings.Join(path, "__")) }

// envHint says which variable an unknown one is probably meant to be.
func envHint(name string) string {
	account, _, _ := strings.Cut(strings.TrimLeft(strings.TrimPrefix(name, "ACCOUNTS"), "_"), "_")
	var candidates []string
	for _, leaf := range configLeaves(configType, nil) {
		candidates = append(candidates, strings.ReplaceAll(envPath(leaf.path), anyName, account))
	}
	if near := nearestName(name, candidates); near != "" {
		return ", did you mean " + envPrefix + near + "?"
	}
	return ""
}

// account returns the document's spelling of an account's name.
func (e *envOverlay) account(name string) (spelling, fault string) {
	var found []string
	if accounts := child(e.root, "accounts"); accounts != nil && accounts.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(accounts.Content); i += 2 {
			if key := accounts.Content[i].Value; envSpelling(key) == name {
				found = append(found, key)
			}
		}
	}
	switch len(found) {
	case 0:
		return strings.ToLower(name), ""
	case 1:
		return found[0], ""
	default:
		return "", "may mean any of several accounts: their names differ in case and punctuation only"
	}
}

// envSpelling is how a name is written in a variable's name.
func envSpelling(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '.' {
			return '_'
		}
		return r
	}, strings.ToUpper(name))
}

// set puts n at path, making the mappings on the way.
func (e *envOverlay) set(variable string, path configPath, n *yaml.Node) {
	at := e.root
	for _, step := range path[:len(path)-1] {
		next := child(at, step)
		switch {
		case next == nil:
			next = &yaml.Node{Kind: yaml.MappingNode}
			at.Content = append(at.Content, textNode(step), next)
		case isNull(next):
			*next = yaml.Node{Kind: yaml.MappingNode}
		case next.Kind != yaml.MappingNode:
			e.add(variable, "can't be applied: in the document, %s is no mapping", step)
			return
		}
		at = next
	}
	last := path[len(path)-1]
	if old := child(at, last); old != nil {
		*old = *n
		return
	}
	at.Content = append(at.Content, textNode(last), n)
}

// envNode is a variable's value as the document would have it.
func envNode(variable, value string, kind reflect.Type) *yaml.Node {
	switch {
	case kind == secretType:
		return textNode("${env:" + variable + "}")
	case kind.Kind() == reflect.Slice:
		list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for item := range strings.SplitSeq(value, ",") {
			list.Content = append(list.Content, textNode(strings.TrimSpace(item)))
		}
		return list
	case kind == durationType, kind.Kind() == reflect.String:
		return textNode(value)
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: strings.TrimSpace(value)}
	}
}

func textNode(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: text}
}

// child returns the value of a mapping's key, or nil.
func child(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
