package connector_test

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/countersign/countersign/connector"
)

// Embedding the connector: a configuration, New, and Run until a signal.
func ExampleNew() {
	run := func(token string) error {
		c, err := connector.New(connector.Config{
			Kafka: connector.KafkaConfig{Brokers: []string{"127.0.0.1:9092"}, Group: "sign-in"},
			Accounts: map[string]connector.AccountConfig{"main": {
				AccountSID: "AC00000000000000000000000000000001",
				AuthToken:  connector.Secret(token),
				Rate:       connector.RateConfig{PerSecond: 20},
			}},
		})
		if err != nil {
			return err // every violation with its path
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		return c.Run(ctx) // nil: drained, nothing abandoned
	}
	fmt.Println(run(""))
	// Output:
	// the configuration is not valid:
	//   accounts.main: needs auth_token, or api_key with api_secret
}

// A configuration document with its secrets beside it, as a plugin gets it.
func ExampleParseConfig() {
	cfg, err := connector.ParseConfig([]byte(`
kafka: {brokers: ["127.0.0.1:9092"]}
accounts:
  main: {account_sid: AC00000000000000000000000000000001, auth_token: "${env:TOKEN}"}
`), map[string]string{"env:TOKEN": "not shown by any formatter"})
	fmt.Println(err, cfg.Kafka.Group, cfg.Accounts["main"].AuthToken)
	// Output: <nil> countersign [secret]
}
