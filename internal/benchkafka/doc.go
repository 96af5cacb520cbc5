// Command benchkafka measures the connector on Apache Kafka. It starts a broker
// of its own and the emulated API as processes, and lets three contenders answer the
// same requests in turn, each in a process of its own: a bare HTTP loop without
// Kafka, a loop on kafka-go as a user would write it, and the connector. What they
// share is the machine, so the ratios within one round say more than any figure
// alone. make bench-kafka runs it.
package main
