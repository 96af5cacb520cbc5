package plugin

import (
	"context"

	"github.com/countersign/countersign/connector"
)

// Describe starts the plugin that spec names, asks what it is, and ends it
// again. Config and Secrets are not touched.
func Describe(ctx context.Context, spec Spec) (Info, error) {
	var info Info
	err := briefly(ctx, spec, func(ctx context.Context, c *child) (err error) {
		info, err = c.remote.info(ctx)
		return err
	})
	return info, err
}

// Check starts the plugin that spec names, has it judge spec.Config, and ends it
// again. A faulty configuration is no error: the faults are the answer. With
// probe the plugin also tries to reach what the configuration names.
func Check(ctx context.Context, spec Spec, probe bool) ([]connector.Violation, error) {
	var violations []connector.Violation
	err := briefly(ctx, spec, func(ctx context.Context, c *child) error {
		secrets, err := c.spec.Secrets(ctx)
		if err != nil {
			return &Error{Code: CodeSecrets, Err: err}
		}
		violations, err = c.remote.validate(ctx, c.spec.Config, secrets, probe)
		return err
	})
	return violations, err
}

// briefly runs use on a child that does no work, within the start timeout.
func briefly(ctx context.Context, spec Spec, use func(context.Context, *child) error) error {
	if err := spec.Validate(); err != nil {
		return err
	}
	spec = spec.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, spec.StartTimeout)
	defer cancel()
	c, err := launch(ctx, spec)
	if err != nil {
		return err
	}
	defer c.end(ctx)
	err = use(ctx, c)
	c.unresponsive = CodeOf(err) == CodeTimeout
	return err
}
