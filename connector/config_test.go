package connector_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/kafka"
)

var updateConfigGolden = flag.Bool("update-config", false, "write the golden files of the configuration's messages anew")

// configSecret must never be seen in a message.
const configSecret = "hunter2hunter2"

var fullSecrets = map[string]string{"env:API_SECRET": configSecret, "file:/run/secrets/auth_token": "0123456789"}

func configFile(t testing.TB, name string) []byte {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("testdata", "config", name))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// violations returns those of a *connector.ConfigError, and fails the test on
// any other error.
func violations(t testing.TB, err error) []connector.Violation {
	t.Helper()
	var invalid *connector.ConfigError
	if !errors.As(err, &invalid) || len(invalid.Violations) == 0 {
		t.Fatalf("error %v, want a *ConfigError with violations", err)
	}
	return invalid.Violations
}

func TestParseConfigFull(t *testing.T) {
	want := connector.Config{
		Kafka: connector.KafkaConfig{
			Brokers: []string{"kafka-1.example.com:9092", "[::1]:9092"},
			TLS: connector.TLSConfig{
				Enabled: true, CAFile: "/etc/countersign/ca.pem", CertFile: "/etc/countersign/client.pem",
				KeyFile: "/etc/countersign/client.key", ServerName: "kafka.example.com",
			},
			SASL:  connector.SASLConfig{Mechanism: kafka.ScramSHA512, Username: "countersign", Password: configSecret, AllowPlaintext: true},
			Group: "verify-eu", ClientID: "countersign-1",
			Topics: connector.TopicsConfig{
				Requests: "eu.challenge.requests", Results: "eu.challenge.results", DeadLetters: "eu.challenge.deadletters",
				Ledger: "eu.challenge.ledger", Positions: "eu.challenge.positions",
			},
			SessionTimeout: 30 * time.Second, RebalanceTimeout: 90 * time.Second,
			TransactionTimeout: 7 * time.Second, LeaseMargin: 4 * time.Second, CreateTopics: true, Partitions: 12,
		},
		Accounts: map[string]connector.AccountConfig{
			"main": {
				AccountSID: "AC0123456789abcdef0123456789ABCDEF", AuthToken: "0123456789", Region: "ie1", Edge: "dublin",
				Timeout: 2500 * time.Millisecond,
				Rate:    connector.RateConfig{PerSecond: 12.5, Burst: 25, Concurrency: 32},
				Breaker: connector.BreakerConfig{Failures: 4, Ratio: 0.25, Window: 20 * time.Second, Open: time.Second},
			},
			"local-test": {
				AccountSID: "ACffffffffffffffffffffffffffffffff",
				APIKey:     "SK0123456789abcdef0123456789abcdef", APISecret: "prefix-" + configSecret + "-${suffix}",
				BaseURL: "http://127.0.0.1:8080/prefix", Timeout: 10 * time.Second,
				Rate:    connector.RateConfig{Burst: 1, Concurrency: 64},
				Breaker: connector.BreakerConfig{Failures: 5, Ratio: 0.5, Window: 10 * time.Second, Open: 5 * time.Second},
			},
		},
		Requests: connector.RequestsConfig{NotAfter: 90 * time.Second},
		Window:   connector.WindowConfig{Span: 4096, Records: 10000, Bytes: 1 << 20},
		Retry:    connector.RetryConfig{Attempts: 8, Elapsed: time.Minute, Base: 100 * time.Millisecond, Cap: 5 * time.Second},
		Delivery: connector.DeliveryAtLeastOnce,
		Recovery: connector.RecoveryConfig{
			Deployment: "verify", MarkerKey: "marker-" + configSecret, Settle: 25 * time.Second, Apart: 3 * time.Second, MaxPages: 7,
			Accept: []connector.Acceptance{connector.AcceptLostOffsets, connector.AcceptRecreatedTopic, connector.AcceptPartitionCount},
		},
		Ledger: connector.LedgerConfig{Horizon: 30 * time.Minute, Entries: 50000},
		Guard: connector.GuardConfig{
			Mode: connector.GuardOn, Period: 20 * time.Minute,
			Identity: connector.GuardLimits{Creates: 6}, Factor: connector.GuardLimits{Creates: 4},
		},
		DrainTimeout: 10 * time.Second,
		Tracing: connector.TracingConfig{
			Endpoint: "http://collector.example:4318", Insecure: true, Authorization: "Bearer " + configSecret,
			SampleRatio: 0.25, ServiceName: "sign-in",
		},
	}
	for _, name := range []string{"full.yaml", "full.json"} {
		got, err := connector.ParseConfig(configFile(t, name), fullSecrets)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s reads as\n%+v, want\n%+v", name, got, want)
		}
	}
}

func TestParseConfigMinimal(t *testing.T) {
	got, err := connector.ParseConfig(configFile(t, "minimal.yaml"), map[string]string{"env:AUTH_TOKEN": configSecret})
	if err != nil {
		t.Fatal(err)
	}
	want := connector.Config{
		Kafka: connector.KafkaConfig{Brokers: []string{"localhost:9092"}},
		Accounts: map[string]connector.AccountConfig{
			"main": {AccountSID: "AC00000000000000000000000000000001", AuthToken: configSecret},
		},
	}.WithDefaults()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}

// A secret of digits alone is a number to YAML, and a null means not written.
func TestParseConfigLooseScalars(t *testing.T) {
	doc := `
kafka: {brokers: [localhost:9092], group: 007, client_id: ~, topics: }
accounts: {1: {account_sid: AC00000000000000000000000000000001, auth_token: 01234567890123456789}}
retry: {attempts: "${env:N}", base: "${env:D}"}
window: {span: 0}
`
	got, err := connector.ParseConfig([]byte(doc), map[string]string{"env:N": " 7\n", "env:D": "1s"})
	if err != nil {
		t.Fatal(err)
	}
	if a := got.Accounts["1"]; a.AuthToken.Reveal() != "01234567890123456789" || got.Kafka.Group != "007" {
		t.Errorf("auth_token %q, group %q", a.AuthToken.Reveal(), got.Kafka.Group)
	}
	if got.Retry.Attempts != 7 || got.Retry.Base != time.Second || got.Window.Span != 16384 || got.Kafka.ClientID != "countersign" {
		t.Errorf("%+v", got)
	}
}

// Every message, as a person reads it. Run with -update-config after a change
// and read the difference.
func TestConfigMessages(t *testing.T) {
	files, err := filepath.Glob("testdata/config/faults/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d faulty documents: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			doc, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = connector.ParseConfig(doc, map[string]string{"env:SECRET": configSecret})
			violations(t, err)
			got := err.Error() + "\n"
			if strings.Contains(got, "hunter2") {
				t.Errorf("a message shows a secret:\n%s", got)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *updateConfigGolden {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func TestParseConfigTooLong(t *testing.T) {
	_, err := connector.ParseConfig([]byte(strings.Repeat("#", connector.MaxConfigBytes+1)), nil)
	if v := violations(t, err); len(v) != 1 || v[0].Path != "" {
		t.Errorf("%+v", v)
	}
}
