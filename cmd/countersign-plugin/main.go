// Countersign-plugin is the connector as a plugin: the binary that a host
// loads. See package plugin for what it promises its host.
package main

import (
	"context"

	"github.com/countersign/countersign/plugin"
)

func main() {
	plugin.Serve(context.Background(), plugin.ServeConfig{New: plugin.Countersign})
}
