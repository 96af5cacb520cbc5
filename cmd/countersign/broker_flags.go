package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/kafka"
)

// The topics as a configuration without names has them.
const (
	requestsTopic    = "challenge.requests"
	resultsTopic     = "challenge.results"
	deadLettersTopic = "challenge.deadletters"
)

const defaultBroker = "127.0.0.1:9092"

// brokerFlags say where Kafka is and who this is to it, for the commands that
// need nothing else of a configuration.
type brokerFlags struct {
	brokers []string
	config  configFlag
}

func (f *brokerFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringSliceVarP(&f.brokers, "brokers", "b", nil,
		"Kafka brokers as `host:port`, comma-separated (default: the configuration's, else "+defaultBroker+")")
	cmd.Flags().StringVarP(&f.config.path, "config", "c", "",
		"YAML or JSON `file` of which only the kafka part is read, for brokers, TLS and SASL\n"+
			"(default: $COUNTERSIGN_CONFIG; COUNTERSIGN_KAFKA__* variables are laid over it)")
}

// client makes a client. It connects at its first use.
func (f brokerFlags) client() (*kafka.Client, error) {
	cfg, err := f.kafka()
	if err != nil {
		return nil, err
	}
	c, err := kafka.NewClient(cfg.Client(nil))
	if kafka.CodeOf(err) == kafka.CodeInvalid {
		return nil, &usageError{err: err}
	}
	return c, err
}

// kafka is the kafka part of the configuration, with what the flags say over it.
func (f brokerFlags) kafka() (connector.KafkaConfig, error) {
	doc, err := f.config.read()
	var faulty *connector.ConfigError
	if err != nil && !errors.As(err, &faulty) {
		return connector.KafkaConfig{}, err
	}
	var faults []connector.Violation
	if faulty != nil {
		// A variable that is about something else is no concern here.
		for _, v := range faulty.Violations {
			if !strings.HasPrefix(v.Path, "COUNTERSIGN_") || strings.HasPrefix(v.Path, "COUNTERSIGN_KAFKA_") {
				faults = append(faults, v)
			}
		}
	}
	brokers := make([]string, len(f.brokers))
	for i, b := range f.brokers {
		brokers[i] = strings.TrimSpace(b)
	}
	cfg, err := connector.ParseKafka(doc.data, doc.present(), brokers, defaultBroker)
	if errors.As(err, &faulty) {
		faults = append(faults, faulty.Violations...)
	} else if err != nil {
		return cfg, err
	}
	faults = append(faults, cfg.CheckFiles()...)
	if len(faults) > 0 {
		return cfg, &usageError{err: &connector.ConfigError{Violations: faults}}
	}
	cfg.ClientID = "countersign-cli"
	return cfg, nil
}
