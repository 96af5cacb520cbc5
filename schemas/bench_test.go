package schemas

import (
	"os"
	"testing"
)

// benchEvent is a push create of about 500 bytes.
const benchEvent = `{"version":"1.0","id":"order-4711-signup","operation":"create","account":"main",` +
	`"service_sid":"VAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","identity":"ff483d1ff591898a9942916050d2ca3f",` +
	`"create":{"factor_sid":"YF03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","expiration_date":"2026-01-02T15:09:05Z",` +
	`"details":{"message":"Would you like to sign in?","fields":[{"label":"Action","value":"Sign in"},` +
	`{"label":"Place","value":"Rotterdam"}]},"hidden_details":{"ip":"172.168.1.234"}},"not_after":"2026-01-02T15:06:05Z"}`

func BenchmarkDecodeRequest(b *testing.B) {
	data := []byte(benchEvent)
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, _, err := DecodeRequest(data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkDecodeResult(b *testing.B) {
	data, err := os.ReadFile("testdata/result/create-succeeded.json")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, _, err := DecodeResult(data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkEncodeResult(b *testing.B) {
	data, err := os.ReadFile("testdata/result/create-succeeded.json")
	if err != nil {
		b.Fatal(err)
	}
	r, _, err := DecodeResult(data)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeRequest(b *testing.B) {
	r, _, err := DecodeRequest([]byte(benchEvent))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}
