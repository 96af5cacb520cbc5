package kafka

import (
	"bytes"
	"fmt"
	"testing"
)

const benchValue = 500

func BenchmarkFetch(b *testing.B) {
	w := newWorld(b, map[string]int32{"t": 1})
	c := w.client()
	const records = 20_000
	msgs := make([]Message, records)
	for i := range msgs {
		msgs[i] = Message{Topic: "t", Key: fmt.Append(nil, i), Value: bytes.Repeat([]byte("x"), benchValue)}
	}
	if err := c.Produce(b.Context(), msgs); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		got := 0
		for _, err := range c.Scan(b.Context(), "t", 0, 0, records) {
			if err != nil {
				b.Fatal(err)
			}
			got++
		}
		if got != records {
			b.Fatalf("%d records", got)
		}
		n += got
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
	b.SetBytes(records * benchValue)
}

func BenchmarkProduce(b *testing.B) {
	for _, size := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(size, " a call"), func(b *testing.B) {
			w := newWorld(b, map[string]int32{"t": 6})
			c := w.client()
			msgs := make([]Message, size)
			for i := range msgs {
				msgs[i] = Message{Topic: "t", Key: fmt.Append(nil, i), Value: bytes.Repeat([]byte("x"), benchValue)}
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if err := c.Produce(b.Context(), msgs); err != nil {
					b.Fatal(err)
				}
				n += size
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
