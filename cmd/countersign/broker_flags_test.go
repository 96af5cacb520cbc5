package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/countersign/countersign/connector/kafka"
)

// What tail, send and redrive know of the brokers comes from the kafka part of
// a configuration and from the environment; the rest of it may be broken.
func TestBrokerFlags(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "operator", "hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	addr := cluster.ListenAddrs()[0]
	dir := t.TempDir()
	config := filepath.Join(dir, "countersign.yaml")
	if err := os.WriteFile(config, []byte("kafka:\n  brokers: ["+strconv.Quote(addr)+"]\n  sasl: {mechanism: PLAIN, username: operator, password: \"${env:KAFKA_PASSWORD}\"}\n"+
		"accounts:\n  main: {account_sid: nonsense, auth_token: \"${file:/nowhere}\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		flags brokerFlags
		env   map[string]string
		fault string
		code  kafka.ErrorCode
	}{
		{"configuration", brokerFlags{config: configFlag{config}}, map[string]string{"KAFKA_PASSWORD": "hunter2"}, "", ""},
		{"wrong password", brokerFlags{config: configFlag{config}}, map[string]string{"KAFKA_PASSWORD": "hunter3"}, "", kafka.CodeUnauthenticated},
		{"no password", brokerFlags{config: configFlag{config}}, nil, "kafka.sasl.password: ${env:KAFKA_PASSWORD}", ""},
		{"environment", brokerFlags{brokers: []string{" " + addr}}, map[string]string{
			"COUNTERSIGN_KAFKA__SASL__MECHANISM": "PLAIN", "COUNTERSIGN_KAFKA__SASL__USERNAME": "operator",
			"COUNTERSIGN_KAFKA__SASL__PASSWORD": "hunter2", "COUNTERSIGN_SOMETHING_ELSE": "x",
		}, "", ""},
		{"brokers from the environment, no SASL", brokerFlags{}, map[string]string{"COUNTERSIGN_KAFKA_BROKERS": addr}, "", kafka.CodeUnauthenticated},
		{"a variable that is not known", brokerFlags{}, map[string]string{"COUNTERSIGN_KAFKA__SASL__USER": "operator"}, "COUNTERSIGN_KAFKA__SASL__USER: ", ""},
		{"a file that is not there", brokerFlags{}, map[string]string{
			"COUNTERSIGN_KAFKA__TLS__ENABLED": "true", "COUNTERSIGN_KAFKA__TLS__CA_FILE": filepath.Join(dir, "none"),
		}, "kafka.tls.ca_file: the file does not exist", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for name, value := range tc.env {
				t.Setenv(name, value)
			}
			client, err := tc.flags.client()
			if tc.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fault) {
					t.Errorf("error %v, want %q in it", err, tc.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			if _, err := client.Ping(t.Context()); kafka.CodeOf(err) != tc.code {
				t.Errorf("code %q, want %q: %v", kafka.CodeOf(err), tc.code, err)
			}
		})
	}
}
