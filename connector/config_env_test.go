package connector_test

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/connector"
)

// overlay applies variables to a document and reads the result.
func overlay(t *testing.T, doc []byte, secrets map[string]string, environ ...string) connector.Config {
	t.Helper()
	out, err := connector.ApplyEnv(doc, environ)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := connector.ParseConfig(out, secrets)
	if err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	return cfg
}

func TestApplyEnv(t *testing.T) {
	for _, file := range []string{"full.yaml", "full.json"} {
		doc := configFile(t, file)
		want, err := connector.ParseConfig(doc, fullSecrets)
		if err != nil {
			t.Fatal(err)
		}
		for variable, change := range map[string]func(*connector.Config){
			"COUNTERSIGN_KAFKA_BROKERS=a:1,b:2":         func(c *connector.Config) { c.Kafka.Brokers = []string{"a:1", "b:2"} },
			"COUNTERSIGN_KAFKA_BROKERS= a:1 , b:2 ":     func(c *connector.Config) { c.Kafka.Brokers = []string{"a:1", "b:2"} },
			"COUNTERSIGN_KAFKA__BROKERS=a:1":            func(c *connector.Config) { c.Kafka.Brokers = []string{"a:1"} },
			"COUNTERSIGN_KAFKA__TOPICS__REQUESTS=r":     func(c *connector.Config) { c.Kafka.Topics.Requests = "r" },
			"COUNTERSIGN_KAFKA_TOPICS_REQUESTS=r":       func(c *connector.Config) { c.Kafka.Topics.Requests = "r" },
			"COUNTERSIGN_KAFKA_CREATE_TOPICS=false":     func(c *connector.Config) { c.Kafka.CreateTopics = false },
			"COUNTERSIGN_KAFKA_PARTITIONS= 3 ":          func(c *connector.Config) { c.Kafka.Partitions = 3 },
			"COUNTERSIGN_KAFKA_GROUP=true":              func(c *connector.Config) { c.Kafka.Group = "true" },
			"COUNTERSIGN_KAFKA_GROUP=null":              func(c *connector.Config) { c.Kafka.Group = "null" },
			"COUNTERSIGN_KAFKA_GROUP=${env:API_SECRET}": func(c *connector.Config) { c.Kafka.Group = configSecret },
			"COUNTERSIGN_DRAIN_TIMEOUT=1s":              func(c *connector.Config) { c.DrainTimeout = 1e9 },
			"COUNTERSIGN_ACCOUNTS__MAIN__REGION=de1":    func(c *connector.Config) { onMain(func(a *connector.AccountConfig) { a.Region = "de1" })(c) },
			"COUNTERSIGN_ACCOUNTS__MAIN__RATE__BURST=7": func(c *connector.Config) { onMain(func(a *connector.AccountConfig) { a.Rate.Burst = 7 })(c) },
			"COUNTERSIGN_ACCOUNTS__MAIN__RATE_PER_SECOND=0.5": func(c *connector.Config) {
				onMain(func(a *connector.AccountConfig) { a.Rate.PerSecond = 0.5 })(c)
			},
			"COUNTERSIGN_ACCOUNTS__LOCAL_TEST__TIMEOUT=1s": func(c *connector.Config) {
				a := c.Accounts["local-test"]
				a.Timeout = 1e9
				c.Accounts["local-test"] = a
			},
			"COUNTERSIGN_WINDOW_SPAN=": func(*connector.Config) {},
			"COUNTERSIGNED=1":          func(*connector.Config) {},
			"PATH=/bin":                func(*connector.Config) {},
			"NO_EQUALS_SIGN":           func(*connector.Config) {},
		} {
			want := want
			want.Accounts = maps.Clone(want.Accounts)
			change(&want)
			if got := overlay(t, doc, fullSecrets, variable); !reflect.DeepEqual(got, want) {
				t.Errorf("%s with %s is\n%+v, want\n%+v", file, variable, got, want)
			}
		}
	}
}

// Secrets stay out of the document.
func TestApplyEnvKeepsSecretsOut(t *testing.T) {
	const variable = "COUNTERSIGN_ACCOUNTS__MAIN__AUTH_TOKEN"
	out, err := connector.ApplyEnv(configFile(t, "minimal.yaml"), []string{variable + "=" + configSecret})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(out, []byte(configSecret)) || !bytes.Contains(out, []byte("${env:"+variable+"}")) {
		t.Errorf("the document is\n%s", out)
	}
	names, err := connector.SecretNames(out)
	if err != nil || !slices.Equal(names, []string{"env:" + variable}) {
		t.Errorf("the secrets are %q, %v", names, err)
	}
}

// A whole configuration without a document.
func TestApplyEnvAlone(t *testing.T) {
	for _, doc := range []string{"", "# none\n", "kafka:\naccounts: ~\n", "{}", "null"} {
		cfg := overlay(t, []byte(doc), map[string]string{"env:COUNTERSIGN_ACCOUNTS__EU__AUTH_TOKEN": configSecret},
			"COUNTERSIGN_ACCOUNTS__EU__AUTH_TOKEN=whatever",
			"COUNTERSIGN_ACCOUNTS__EU__ACCOUNT_SID="+anAccountSID,
			"COUNTERSIGN_KAFKA_BROKERS=localhost:9092",
		)
		want := validConfig()
		want.Accounts = map[string]connector.AccountConfig{"eu": want.Accounts["main"]}
		if !reflect.DeepEqual(cfg, want.WithDefaults()) {
			t.Errorf("from %q: %+v", doc, cfg)
		}
	}
}

func TestApplyEnvChangesNothing(t *testing.T) {
	doc := configFile(t, "full.yaml")
	out, err := connector.ApplyEnv(doc, []string{"HOME=/root", "COUNTERSIGN_PLUGIN=x", "COUNTERSIGN_KAFKA_GROUP="})
	if err != nil || !bytes.Equal(doc, out) {
		t.Errorf("without a variable for it the document changes: %v\n%s", err, out)
	}
}

func TestApplyEnvKeepsComments(t *testing.T) {
	out, err := connector.ApplyEnv(configFile(t, "full.yaml"), []string{"COUNTERSIGN_KAFKA_GROUP=g"})
	if err != nil || !strings.HasPrefix(string(out), "# Every key") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestReservedVariables(t *testing.T) {
	doc := []byte("kafka: {group: \"${env:COUNTERSIGN_OWN_NAME}\"}")
	for _, name := range []string{
		"CONFIG", "PLUGIN", "PLUGIN_LEASE_FD", "HOST_NAME", "LOG", "LOG_LEVEL", "TEST_KAFKA", "KAFKA_IMAGE", "OWN_NAME",
		// Kubernetes sets these for the services countersign and countersign-metrics.
		"SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_9090_TCP", "PORT_9090_TCP_PROTO", "PORT_9090_UDP_ADDR",
		"METRICS_SERVICE_HOST", "METRICS_SERVICE_PORT", "METRICS_PORT_80_TCP_ADDR",
	} {
		out, err := connector.ApplyEnv(doc, []string{"COUNTERSIGN_" + name + "=anything"})
		if err != nil || !bytes.Equal(out, doc) {
			t.Errorf("COUNTERSIGN_%s: %v\n%s", name, err, out)
		}
	}
	for _, name := range []string{"PLUGINS", "IMAGE_NAME", "CONFIGURATION", "PORTS", "SERVICE", "LOGS", "config", "OTHER_NAME"} {
		_, err := connector.ApplyEnv(doc, []string{"COUNTERSIGN_" + name + "=anything"})
		if v := violations(t, err); v[0].Path != "COUNTERSIGN_"+name {
			t.Errorf("%+v", v)
		}
	}
}

// Every value of the configuration can be set by a variable, with one
// underscore or two, and no name is reserved.
func TestEveryValueHasAVariable(t *testing.T) {
	names := map[string]string{}
	walkConfig(reflect.TypeFor[connector.Config](), nil, func(path []string, leaf reflect.Type) {
		value := "1"
		switch {
		case schemaType(leaf) == "boolean":
			value = "true"
		case schemaType(leaf) == "string":
			value = "1s"
		}
		levels := strings.ReplaceAll(strings.ToUpper(strings.Join(path, "__")), "*", "MAIN")
		single := strings.ReplaceAll(strings.ReplaceAll(levels, "__", "_"), "ACCOUNTS_MAIN_", "ACCOUNTS__MAIN__")
		if other, taken := names[single]; taken {
			t.Errorf("COUNTERSIGN_%s means both %s and %s", single, other, levels)
		}
		names[single] = levels
		for _, name := range []string{levels, single} {
			out, err := connector.ApplyEnv(nil, []string{"COUNTERSIGN_" + name + "=" + value})
			if err != nil || len(out) == 0 {
				t.Errorf("COUNTERSIGN_%s=%s: %v", name, value, err)
			}
		}
	})
}

func TestApplyEnvRefuses(t *testing.T) {
	doc := []byte(`
kafka: 5
accounts:
  a-b: {}
  a.b: {}
  main: [list]
`)
	_, err := connector.ApplyEnv(doc, []string{
		"COUNTERSIGN_KAFKA_BROKER=" + configSecret,
		"COUNTERSIGN_DRAIN_TIMEOUT=" + configSecret,
		"COUNTERSIGN_RETRY_ATTEMPTS=1.5",
		"COUNTERSIGN_WINDOW__SPAN=1",
		"COUNTERSIGN_WINDOW_SPAN=1",
		"COUNTERSIGN_KAFKA_GROUP=g",
		"COUNTERSIGN_ACCOUNTS__A_B__REGION=ie1",
		"COUNTERSIGN_ACCOUNTS__MAIN__REGION=ie1",
		"COUNTERSIGN_ACCOUNTS_MAIN_AUTH_TOKEN=" + configSecret,
		"COUNTERSIGN_ACCOUNTS__MAIN__AUTHTOKEN=" + configSecret,
		"COUNTERSIGN_ACCOUNTS____REGION=ie1",
		"COUNTERSIGN_ACCOUNTS__MAIN=x",
		"COUNTERSIGN_ACCOUNTS=x",
		"COUNTERSIGN_=x",
		"COUNTERSIGN_SOMETHING_ELSE=x",
		"COUNTERSIGN_KAFKA__CREATE_TOPICS=yes",
	})
	const want = `the configuration is not valid:
  COUNTERSIGN_: is not a variable that is known
  COUNTERSIGN_ACCOUNTS: is not a variable that is known
  COUNTERSIGN_ACCOUNTS_MAIN_AUTH_TOKEN: is not a variable that is known, did you mean COUNTERSIGN_ACCOUNTS__MAIN__AUTH_TOKEN?
  COUNTERSIGN_ACCOUNTS__A_B__REGION: may mean any of several accounts: their names differ in case and punctuation only
  COUNTERSIGN_ACCOUNTS__MAIN: is not a variable that is known
  COUNTERSIGN_ACCOUNTS__MAIN__AUTHTOKEN: is not a variable that is known, did you mean COUNTERSIGN_ACCOUNTS__MAIN__AUTH_TOKEN?
  COUNTERSIGN_ACCOUNTS__MAIN__REGION: can't be applied: in the document, main is no mapping
  COUNTERSIGN_ACCOUNTS____REGION: is not a variable that is known
  COUNTERSIGN_DRAIN_TIMEOUT: must be a duration with its unit, as in 250ms or 5m
  COUNTERSIGN_KAFKA_BROKER: is not a variable that is known, did you mean COUNTERSIGN_KAFKA__BROKERS?
  COUNTERSIGN_KAFKA_GROUP: can't be applied: in the document, kafka is no mapping
  COUNTERSIGN_KAFKA__CREATE_TOPICS: must be true or false
  COUNTERSIGN_RETRY_ATTEMPTS: must be a whole number
  COUNTERSIGN_SOMETHING_ELSE: is not a variable that is known
  COUNTERSIGN_WINDOW__SPAN: sets the same as COUNTERSIGN_WINDOW_SPAN`
	if violations(t, err); err.Error() != want {
		t.Errorf("got\n%v, want\n%s", err, want)
	}
	if _, err := connector.ApplyEnv([]byte("a: ["), nil); violations(t, err)[0].Path != "" {
		t.Errorf("a document that can't be read: %v", err)
	}
}
