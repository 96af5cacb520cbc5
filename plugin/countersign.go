package plugin

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/tracing"
)

// probeTimeout bounds one probe of a broker.
const probeTimeout = 10 * time.Second

// Countersign makes the product's own Connector, the engine of package
// connector. It is what the binary countersign-plugin serves.
func Countersign(log *slog.Logger) Connector {
	return NewEngine(EngineConfig{
		Info: Info{
			Name:         "countersign",
			Version:      connector.BuildVersion(),
			ConfigSchema: connector.ConfigSchema(),
			Capabilities: []Capability{CapabilitySelfDriven, CapabilityStatusDetail},
		},
		New:       newRunner,
		Validate:  validate,
		Abandoned: abandoned,
		Logger:    log,
	})
}

func newRunner(doc []byte, secrets map[string]string, log *slog.Logger) (Runner, error) {
	cfg, err := connector.ParseConfig(doc, secrets)
	if err != nil {
		return nil, configError(err)
	}
	spans, err := tracing.Start(cfg.Tracing, log)
	if err != nil {
		return nil, configError(err)
	}
	c, err := connector.New(cfg, connector.WithLogger(log), spans.Option())
	if err != nil {
		return nil, configError(err)
	}
	return traced{c, spans}, nil
}

// traced exports the last spans when the work has ended.
type traced struct {
	*connector.Connector
	spans *tracing.Provider
}

// Run implements Runner.
func (t traced) Run(ctx context.Context) error {
	t.spans.Open(ctx)
	defer t.spans.Close(ctx)
	return t.Connector.Run(ctx)
}

// validate judges the document and, with probe, asks the brokers that it names
// for their metadata. The API is not probed: every call of it is about
// somebody's identity.
func validate(ctx context.Context, doc []byte, secrets map[string]string, probe bool) ([]connector.Violation, error) {
	cfg, err := connector.ParseConfig(doc, secrets)
	if refused, ok := errors.AsType[*connector.ConfigError](err); ok {
		return refused.Violations, nil
	}
	if err != nil || !probe {
		return nil, err
	}
	if faults := cfg.Kafka.CheckFiles(); len(faults) > 0 {
		return faults, nil
	}
	client, err := kafka.NewClient(cfg.Kafka.Client(nil))
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if _, err := client.Ping(ctx); err != nil {
		return []connector.Violation{{Path: "kafka.brokers", Message: "no broker answers: " + err.Error()}}, nil
	}
	return nil, nil
}

// configError keeps the violations. Whatever else New refuses is in the
// configuration too: it connects to nothing.
func configError(err error) error {
	e := &Error{Code: CodeConfig}
	if refused, ok := errors.AsType[*connector.ConfigError](err); ok {
		e.Violations = refused.Violations
	} else {
		e.Err = err
	}
	return e
}

func abandoned(err error) (records int, ok bool) {
	var left *connector.DrainError
	if !errors.As(err, &left) {
		return 0, false
	}
	return left.Abandoned, true
}
