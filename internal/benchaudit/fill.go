package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"

	"github.com/countersign/countersign/schemas"
)

// began is the first request's timestamp; each partition's are a millisecond apart.
var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// batch is how many records are written at once.
const batch = 2000

// fill writes the pairs and says that a group has worked them off.
func fill(ctx context.Context, addrs []string, o options) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	client := &kafkago.Client{Addr: kafkago.TCP(addrs...), Timeout: time.Minute, Transport: &kafkago.Transport{}}
	defer client.Transport.(*kafkago.Transport).CloseIdleConnections()
	var bytes atomic.Int64
	var writers sync.WaitGroup
	room := make(chan struct{}, 4)
	commits := map[string][]kafkago.OffsetCommit{}
	for p := range o.partitions {
		n := o.pairs / o.partitions
		if p < o.pairs%o.partitions {
			n++
		}
		commits[requestsTopic] = append(commits[requestsTopic], kafkago.OffsetCommit{Partition: p, Offset: int64(n)})
		writers.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			if err := fillOne(ctx, client, p, n, &bytes); err != nil {
				cancel(err)
			}
		})
	}
	writers.Wait()
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	return bytes.Load(), commit(ctx, client, commits)
}

// commit says that the group has worked off everything.
func commit(ctx context.Context, client *kafkago.Client, commits map[string][]kafkago.OffsetCommit) error {
	return settled(ctx, func() error {
		res, err := client.OffsetCommit(ctx, &kafkago.OffsetCommitRequest{GroupID: group, GenerationID: -1, Topics: commits})
		if err != nil {
			return err
		}
		for _, p := range res.Topics[requestsTopic] {
			err = cmp.Or(err, p.Error)
		}
		return err
	})
}

// settled repeats what a broker refuses while leaders and coordinators are yet to be
// chosen.
func settled(ctx context.Context, do func() error) error {
	for tries := 50; ; tries-- {
		err := do()
		if code, refused := errors.AsType[kafkago.Error](err); err == nil || tries == 0 || !refused || !code.Temporary() {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func fillOne(ctx context.Context, client *kafkago.Client, partition, n int, bytes *atomic.Int64) error {
	var asked, answered []record
	for i := range n {
		at := schemas.Coordinates{Topic: requestsTopic, Partition: partition, Offset: int64(i), Timestamp: began.Add(time.Duration(i) * time.Millisecond)}
		req, res, err := pair(at)
		if err != nil {
			return err
		}
		bytes.Add(int64(len(req) + len(res)))
		key := fmt.Appendf(nil, "customer-%08d", i%10_000)
		asked = append(asked, record{at.Timestamp, key, req})
		answered = append(answered, record{at.Timestamp.Add(140 * time.Millisecond), key, res})
		if len(asked) == batch || i == n-1 {
			if err := produce(ctx, client, requestsTopic, partition, asked); err != nil {
				return err
			}
			if err := produce(ctx, client, resultsTopic, partition, answered); err != nil {
				return err
			}
			asked, answered = asked[:0], answered[:0]
		}
	}
	return nil
}

// record is what kafka-go's own can be made of more than once: it reads them up.
type record struct {
	at         time.Time
	key, value []byte
}

func produce(ctx context.Context, client *kafkago.Client, topic string, partition int, records []record) error {
	const atMost = 500 // of a megabyte, which is what a batch may have
	for len(records) > 0 {
		some := records[:min(atMost, len(records))]
		records = records[len(some):]
		err := settled(ctx, func() error {
			fresh := make([]kafkago.Record, len(some))
			for i, r := range some {
				fresh[i] = kafkago.Record{Time: r.at, Key: kafkago.NewBytes(r.key), Value: kafkago.NewBytes(r.value)}
			}
			res, err := client.Produce(ctx, &kafkago.ProduceRequest{
				Topic: topic, Partition: partition, RequiredAcks: kafkago.RequireAll, Compression: compress.Lz4, Records: kafkago.NewRecordReader(fresh...),
			})
			if err != nil {
				return err
			}
			return res.Error
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	service = "VA5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8"
	account = "AC5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8"
	entity  = "YE5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8"
)

// pair is a create and its result, as large as they are with a message and two
// fields.
func pair(at schemas.Coordinates) (req, res []byte, err error) {
	n := at.Partition<<32 | int(at.Offset)
	identity := fmt.Sprintf("customer-%08d", at.Offset%10_000)
	factor := fmt.Sprintf("YF%032x", at.Offset%10_000)
	r := schemas.Request{
		ID: fmt.Sprintf("signin-%d-%d", at.Partition, at.Offset), Operation: schemas.OperationCreate, ServiceSID: service, Identity: identity,
		Create: &schemas.Create{FactorSID: factor, Details: &schemas.Details{Message: "Sign in to the shop?", Fields: []schemas.Field{{Label: "Place", Value: "Lisbon"}, {Label: "Device", Value: "a browser on Linux"}}}},
	}
	if req, err = r.Encode(); err != nil {
		return nil, nil, err
	}
	sid := fmt.Sprintf("YC%032x", n)
	stamp := at.Timestamp.Format(time.RFC3339)
	url := "https://verify.twilio.com/v2/Services/" + service + "/Entities/" + identity + "/Challenges/" + sid
	challenge := fmt.Appendf(nil, `{"sid":%q,"account_sid":%q,"service_sid":%q,"entity_sid":%q,"identity":%q,"factor_sid":%q,"date_created":%q,"date_updated":%q,"date_responded":null,`+
		`"expiration_date":%q,"status":"pending","responded_reason":"none","details":{"message":"Sign in to the shop?","fields":[{"label":"Place","value":"Lisbon"},{"label":"Device","value":"a browser on Linux"}]},`+
		`"hidden_details":{"countersign":"%032x"},"metadata":null,"factor_type":"push","url":%q,"links":{"notifications":%q}}`,
		sid, account, service, entity, identity, factor, stamp, stamp, at.Timestamp.Add(5*time.Minute).Format(time.RFC3339), n, url, url+"/Notifications")
	called, completed := at.Timestamp.Add(8*time.Millisecond), at.Timestamp.Add(time.Duration(100+at.Offset%80)*time.Millisecond)
	result := schemas.Result{
		ID: schemas.ResultID(group, at, 0), RequestID: r.ID, Operation: r.Operation, Outcome: schemas.OutcomeSucceeded, ServiceSID: service, Identity: identity,
		Challenge: challenge, Attempts: 1, Request: at, APIRequestID: fmt.Sprintf("RQ%032x", n),
		Times: schemas.Times{Received: at.Timestamp.Add(5 * time.Millisecond), Called: &called, Completed: completed},
	}
	res, err = result.Encode()
	return req, res, err
}
