// Package scale measures the connector on Apache Kafka from jars: how it takes
// up 1 to 64 partitions with 1 to 8 members, what an idle lane costs, and that
// neither memory nor goroutines grow while it works for long. Nothing runs
// unless asked for: make scale, make soak. docs/scale.md keeps what was seen.
package scale
