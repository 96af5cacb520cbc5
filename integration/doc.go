// Package integration tests Countersign whole: the connector on a broker that
// speaks Kafka's protocol against an API that behaves like the real one, in one
// process and as hosts with their plugin processes. What it counts, it counts
// from the topics and from the API's side, never from the connector's word.
package integration
