package connector

import (
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/connector/kafka"
)

// TLSConfig says how the connections to the brokers are encrypted. Files are
// read again for each connection, so a rotated certificate needs no restart.
type TLSConfig struct {
	Enabled    bool   `yaml:"enabled"`
	CAFile     string `yaml:"ca_file"`     // PEM, who may sign the brokers' certificates; empty: the system's authorities
	CertFile   string `yaml:"cert_file"`   // PEM, the client's certificate and its chain; empty: none is shown
	KeyFile    string `yaml:"key_file"`    // PEM, the key of CertFile
	ServerName string `yaml:"server_name"` // whom the brokers' certificates are for; empty: each one's host
}

// SASLConfig says as whom to authenticate to the brokers.
type SASLConfig struct {
	Mechanism kafka.Mechanism `yaml:"mechanism"` // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty: none
	Username  string          `yaml:"username"`
	Password  Secret          `yaml:"password"` // this, or PasswordFile
	// PasswordFile is read again for each connection, so a rotated password needs
	// no restart. Its last line end is no part of the password.
	PasswordFile string `yaml:"password_file"`
	// AllowPlaintext lets PLAIN send the password without TLS to brokers that are
	// not on this machine.
	AllowPlaintext bool `yaml:"allow_plaintext"`
}

// mechanisms are the SASL mechanisms that a SASLConfig may name.
func mechanisms() []kafka.Mechanism {
	return []kafka.Mechanism{kafka.Plain, kafka.ScramSHA256, kafka.ScramSHA512}
}

func (t TLSConfig) validate(v *configCheck) {
	if !t.Enabled {
		for _, set := range []struct{ key, value string }{
			{"ca_file", t.CAFile}, {"cert_file", t.CertFile}, {"key_file", t.KeyFile}, {"server_name", t.ServerName},
		} {
			if set.value != "" {
				v.add("kafka.tls."+set.key, "is set, and kafka.tls.enabled is not true")
			}
		}
		return
	}
	switch {
	case t.CertFile != "" && t.KeyFile == "":
		v.add("kafka.tls.key_file", "must be set, because cert_file is")
	case t.KeyFile != "" && t.CertFile == "":
		v.add("kafka.tls.cert_file", "must be set, because key_file is")
	}
	if strings.ContainsFunc(t.ServerName, notPlain) || strings.ContainsAny(t.ServerName, "/@,:") && net.ParseIP(t.ServerName) == nil {
		v.add("kafka.tls.server_name", "must be a host name or an address, without a port")
	}
}

func (s SASLConfig) validate(v *configCheck, k KafkaConfig) {
	if s.Mechanism == "" {
		for _, set := range []struct {
			key string
			is  bool
		}{
			{"username", s.Username != ""},
			{"password", !s.Password.IsZero()},
			{"password_file", s.PasswordFile != ""},
			{"allow_plaintext", s.AllowPlaintext},
		} {
			if set.is {
				v.add("kafka.sasl."+set.key, "is set, and kafka.sasl.mechanism is not")
			}
		}
		return
	}
	if !slices.Contains(mechanisms(), s.Mechanism) {
		v.add("kafka.sasl.mechanism", "must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512")
		return
	}
	if s.Username == "" {
		v.add("kafka.sasl.username", "must be set, because mechanism is")
	}
	switch {
	case s.Password.IsZero() && s.PasswordFile == "":
		v.add("kafka.sasl", "needs password or password_file")
	case !s.Password.IsZero() && s.PasswordFile != "":
		v.add("kafka.sasl", "must have either password or password_file, and has both")
	}
	if s.Mechanism == kafka.Plain && !k.TLS.Enabled && !s.AllowPlaintext && slices.ContainsFunc(k.Brokers, isRemote) {
		v.add("kafka.sasl.mechanism", "must not be PLAIN without kafka.tls to brokers on other machines, because they would be sent the password in clear; "+
			"set kafka.sasl.allow_plaintext to true where that is meant")
	}
}

// isRemote reports that a broker is not certainly on this machine.
func isRemote(broker string) bool {
	host, _, err := net.SplitHostPort(broker)
	return err == nil && !isLoopback(host)
}

// Client is what package kafka needs to connect as this configuration says.
func (k KafkaConfig) Client(log *slog.Logger) kafka.Config {
	return kafka.Config{
		Brokers: k.Brokers, ClientID: k.ClientID, Logger: log,
		TLS: kafka.TLS{
			Enabled: k.TLS.Enabled, CAFile: k.TLS.CAFile, CertFile: k.TLS.CertFile, KeyFile: k.TLS.KeyFile, ServerName: k.TLS.ServerName,
		},
		SASL: kafka.SASL{
			Mechanism: k.SASL.Mechanism, Username: k.SASL.Username, Password: k.SASL.Password,
			PasswordFile: k.SASL.PasswordFile, AllowPlaintext: k.SASL.AllowPlaintext,
		},
	}
}

// CheckFiles reads the files that the configuration names for Kafka and returns
// a fault for each that cannot be used.
func (k KafkaConfig) CheckFiles() []Violation {
	var v configCheck
	for _, fault := range k.Client(nil).FileFaults() {
		for _, named := range []struct{ key, path string }{
			{"kafka.tls.ca_file", k.TLS.CAFile},
			{"kafka.tls.cert_file", k.TLS.CertFile},
			{"kafka.tls.key_file", k.TLS.KeyFile},
			{"kafka.sasl.password_file", k.SASL.PasswordFile},
		} {
			if named.path == fault.Path {
				v.add(named.key, "the file %s", fault.Why)
				break
			}
		}
	}
	return v.violations
}

// ParseKafka reads only the kafka part of a document, for a tool that looks at
// the topics. brokers, where there are some, replace the document's, and one named by
// otherwise stands in where there are none at all. Secrets and faults of other parts do
// not matter; otherwise it is like ParseConfig.
func ParseKafka(doc []byte, secrets map[string]string, brokers []string, otherwise string) (KafkaConfig, error) {
	root, faults := loadDocument(doc)
	if len(faults) > 0 {
		return KafkaConfig{}, &ConfigError{Violations: faults}
	}
	var cfg KafkaConfig
	d := decoder{secrets: secrets}
	if root != nil && root.Kind == yaml.MappingNode {
		if n := child(root, "kafka"); n != nil {
			d.value("kafka", n, reflect.ValueOf(&cfg).Elem())
		}
	}
	if len(brokers) > 0 {
		cfg.Brokers = brokers
	}
	if len(cfg.Brokers) == 0 {
		cfg.Brokers = []string{otherwise}
	}
	cfg = cfg.withDefaults()
	found := d.violations
	var v configCheck
	cfg.validate(&v)
	for _, fault := range v.violations {
		if !explained(fault.Path, d.violations) {
			found = append(found, fault)
		}
	}
	if len(found) > 0 {
		return KafkaConfig{}, &ConfigError{Violations: found}
	}
	return cfg, nil
}
