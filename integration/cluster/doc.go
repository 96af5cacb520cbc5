// Package cluster gives tests a Kafka cluster: one that somebody names, one in
// a container, Apache Kafka from its jars, or the embedded broker. It is a tool
// of tests and benchmarks; no program of ours is built with it.
package cluster
