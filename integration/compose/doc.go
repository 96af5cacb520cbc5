// Package compose holds what docker-compose.yml mounts: the connector's
// configuration, Prometheus's with the alert rules, Grafana's with the
// dashboard. Its tests hold them to docs/metrics.md, and run every query on a
// Prometheus where one is named.
package compose
