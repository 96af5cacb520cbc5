// Package interop tests that programs of others and the connector understand
// each other: kcat (librdkafka) and the console tools of Apache Kafka (Java)
// produce requests, read results and look at the group, and a verifier in
// Python (librdkafka) reads what audit reports cover, on Apache Kafka from jars.
// It needs these programs, so nothing runs unless asked for: make interop.
package interop
