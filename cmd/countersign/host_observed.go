package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin"
)

// hosted is a plugin as its host shows it.
type hosted struct {
	spec plugin.Spec
	host *plugin.Supervisor
}

// hostStatus is the plugin's own status and, beside it, what the host knows.
type hostStatus struct {
	connector.Status
	Plugin pluginStatus `json:"plugin"`
}

type pluginStatus struct {
	Path     string `json:"path"`
	SHA256   string `json:"sha256"`
	PID      int    `json:"pid"` // 0 while none runs
	Restarts int    `json:"restarts"`
}

// statusLog logs when the plugin's state, or whether progress is possible, has
// changed. It is called by one goroutine at a time.
type statusLog struct {
	log  *slog.Logger
	last connector.Status
}

func (l *statusLog) take(s connector.Status) {
	if s.State == l.last.State && s.Ready == l.last.Ready && s.Reason == l.last.Reason {
		return
	}
	l.last = s
	l.log.Info("plugin status", "state", s.State, "ready", s.Ready, "reason", s.Reason)
}

func (h hosted) observed() observed {
	return observed{status: h.host.Status, document: h.document, metrics: h.metrics}
}

func (h hosted) document() any {
	return hostStatus{Status: h.host.Status(), Plugin: pluginStatus{
		Path: h.spec.Path, SHA256: h.spec.SHA256, PID: h.host.PID(), Restarts: h.host.Restarts(),
	}}
}

// metrics are the host's own and the plugin's. A plugin that can't be asked is
// a fact to report, not a failed scrape.
func (h hosted) metrics(ctx context.Context, w io.Writer) error {
	up := 1
	if err := h.host.WriteMetrics(ctx, w); err != nil {
		up = 0
	}
	_, err := fmt.Fprintf(w, `# HELP countersign_plugin_up Whether the plugin answers.
# TYPE countersign_plugin_up gauge
countersign_plugin_up %d
# HELP countersign_plugin_restarts_total Times the plugin had to be replaced.
# TYPE countersign_plugin_restarts_total counter
countersign_plugin_restarts_total %d
`, up, h.host.Restarts())
	return err
}
