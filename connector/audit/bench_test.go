package audit

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// pairOf is a create and its result, as they come with a message and two fields.
func pairOf(b *testing.B, n int) (req, res kafka.Record) {
	b.Helper()
	at := schemas.Coordinates{Topic: topics.Requests, Offset: int64(n), Timestamp: epoch.Add(time.Duration(n) * time.Millisecond)}
	who := fmt.Sprintf("customer-%08d", n%1000)
	r := schemas.Request{
		ID: fmt.Sprintf("signin-%d", n), Operation: schemas.OperationCreate, ServiceSID: service, Identity: who,
		Create: &schemas.Create{FactorSID: factor, Details: &schemas.Details{Message: "Sign in to the shop?", Fields: []schemas.Field{{Label: "Place", Value: "Lisbon"}, {Label: "Device", Value: "a browser"}}}},
	}
	value, err := r.Encode()
	must(b, err)
	req = kafka.Record{Topic: topics.Requests, Offset: at.Offset, Timestamp: at.Timestamp, Key: []byte(who), Value: value}
	stamp := at.Timestamp.Format(time.RFC3339)
	url := "https://verify.twilio.com/v2/Services/" + service + "/Entities/" + who + "/Challenges/" + sidOf(n)
	called := at.Timestamp.Add(8 * time.Millisecond)
	result := schemas.Result{
		ID: schemas.ResultID(group, at, 0), RequestID: r.ID, Operation: r.Operation, Outcome: schemas.OutcomeSucceeded, ServiceSID: service, Identity: who,
		Attempts: 1, Request: at, APIRequestID: fmt.Sprintf("RQ%032x", n),
		Times: schemas.Times{Received: at.Timestamp, Called: &called, Completed: called.Add(100 * time.Millisecond)},
		Challenge: fmt.Appendf(nil, `{"sid":%q,"account_sid":"AC%032x","service_sid":%q,"entity_sid":"YE%032x","identity":%q,"factor_sid":%q,"date_created":%q,"date_updated":%q,"date_responded":null,`+
			`"expiration_date":%q,"status":"pending","responded_reason":"none","details":{"message":"Sign in to the shop?","fields":[{"label":"Place","value":"Lisbon"},{"label":"Device","value":"a browser"}]},`+
			`"hidden_details":{"countersign":"%032x"},"metadata":null,"factor_type":"push","url":%q,"links":{"notifications":%q}}`,
			sidOf(n), n, service, n, who, factor, stamp, stamp, stamp, n, url, url+"/Notifications"),
	}
	value, err = result.Encode()
	must(b, err)
	res = kafka.Record{Topic: topics.Results, Offset: at.Offset, Timestamp: called, Key: []byte(who), Value: value}
	return req, res
}

// BenchmarkPair is everything that an audit does with a request and its result but
// fetching them.
func BenchmarkPair(b *testing.B) {
	const size = 1000
	var asked, answered [size]kafka.Record
	bytes := 0
	for i := range size {
		asked[i], answered[i] = pairOf(b, i)
		bytes += len(asked[i].Value) + len(answered[i].Value)
	}
	b.SetBytes(int64(bytes / size))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n%size == 0 {
			b.StopTimer()
			cfg := Config{Topics: topics, Group: group}.withDefaults()
			p := &plan{Requests: []OffsetSpan{{0, 0, size}}, Partitions: 1}
			benchJoin = &join{cfg: cfg, plan: p, ledger: newLedger(p, 10)}
			benchReader = &reader{cfg: &benchJoin.cfg, windows: benchJoin.windows(), partitions: 1}
			benchStreams = [2]*stream{{Role: requests}, {Role: results}}
			b.StartTimer()
		}
		i := n % size
		benchJoin.take(benchStreams[0], benchReader.read(0, benchStreams[0], kafka.Fetched{Records: asked[i : i+1]}))
		benchJoin.take(benchStreams[1], benchReader.read(1, benchStreams[1], kafka.Fetched{Records: answered[i : i+1]}))
		n++
	}
	if n := benchJoin.ledger.Found.N; len(n) > 0 {
		b.Fatal(n)
	}
}

var (
	benchJoin    *join
	benchReader  *reader
	benchStreams [2]*stream
)
