package redrive

import (
	"testing"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/broker"
)

// BenchmarkRun redrives as fast as it can, on the embedded broker over loopback.
func BenchmarkRun(b *testing.B) {
	const letters = 10_000
	br, err := broker.Start(broker.Config{Topics: map[string]int32{"dead": 4, "requests": 4}})
	if err != nil {
		b.Fatal(err)
	}
	defer br.Close()
	c, err := kafka.NewClient(kafka.Config{Brokers: br.Addrs()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	msgs := make([]kafka.Message, letters)
	for i := range msgs {
		rec := dead(createEvent, nil)
		msgs[i] = kafka.Message{Topic: topics.DeadLetters, Value: rec.Value, Headers: rec.Headers}
		msgs[i].Key = []byte{byte(i), byte(i >> 8)} // makes each letter one of its own
	}
	if err := c.Produce(b.Context(), msgs); err != nil {
		b.Fatal(err)
	}
	cfg := config()
	for i := 0; b.Loop(); i++ {
		cfg.Topics.Journal = "journal" + string(rune('a'+i))
		r, err := Run(b.Context(), c, cfg)
		if err != nil || r.Requests() != letters {
			b.Fatal(r.Requests(), err)
		}
	}
	b.ReportMetric(letters*float64(b.N)/b.Elapsed().Seconds(), "letters/s")
}
