package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connector/kafka"
)

// The topics as a configuration without names has them.
const (
	requestsTopic    = "challenge.requests"
	resultsTopic     = "challenge.results"
	deadLettersTopic = "challenge.deadletters"
)

const defaultBroker = "127.0.0.1:9092"

// brokerFlags say where Kafka is, for the commands that need no configuration.
type brokerFlags struct{ brokers []string }

func (f *brokerFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringSliceVarP(&f.brokers, "brokers", "b", nil,
		"Kafka brokers as `host:port`, comma-separated (default: $COUNTERSIGN_KAFKA__BROKERS, else "+defaultBroker+")")
}

// client makes a client. It connects at its first use.
func (f brokerFlags) client() (*kafka.Client, error) {
	brokers := f.brokers
	if len(brokers) == 0 {
		for _, name := range []string{"COUNTERSIGN_KAFKA__BROKERS", "COUNTERSIGN_KAFKA_BROKERS"} {
			if list := os.Getenv(name); list != "" {
				brokers = strings.Split(list, ",")
				break
			}
		}
	}
	if len(brokers) == 0 {
		brokers = []string{defaultBroker}
	}
	for i := range brokers {
		brokers[i] = strings.TrimSpace(brokers[i])
	}
	c, err := kafka.NewClient(kafka.Config{Brokers: brokers, ClientID: "countersign-cli"})
	if kafka.CodeOf(err) == kafka.CodeInvalid {
		return nil, &usageError{err: err}
	}
	return c, err
}
