package demo

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// topics are where the events are.
type topics struct{ requests, results, letters, ledger, positions string }

// gather reads requests, results and dead letters from their starts to the ends that they have
// now. It is meant for topics that nobody writes to any more. created are the
// SIDs in the API's own books.
func gather(ctx context.Context, client *kafka.Client, t topics, created []string) (evidence, error) {
	e := evidence{Topic: t.requests, Created: created}
	err := each(ctx, client, t.requests, func(r kafka.Record) {
		e.Requests = append(e.Requests, spot{r.Partition, r.Offset})
	})
	if err != nil {
		return evidence{}, err
	}
	err = each(ctx, client, t.results, func(r kafka.Record) {
		if seen, ok := readResult(r); ok {
			e.Results = append(e.Results, seen)
		} else {
			e.Unreadable++
		}
	})
	if err != nil {
		return evidence{}, err
	}
	err = each(ctx, client, t.letters, func(r kafka.Record) {
		if seen, ok := readLetter(r); ok {
			e.Letters = append(e.Letters, seen)
		} else {
			e.Unreadable++
		}
	})
	return e, err
}

// each visits every committed record that a topic holds now. That the records
// reach up to the end is checked: a read that stopped short would count what it
// missed as lost.
func each(ctx context.Context, client *kafka.Client, topic string, visit func(kafka.Record)) error {
	ranges, err := client.Ranges(ctx, topic)
	if err != nil {
		return fmt.Errorf("count %s: %w", topic, err)
	}
	for p, r := range ranges {
		for rec, err := range client.Scan(ctx, topic, p, r.Start, r.End) {
			if err != nil {
				return fmt.Errorf("count %s: %w", topic, err)
			}
			visit(rec)
		}
	}
	return nil
}

// readResult takes a result record apart; false where it is none.
func readResult(rec kafka.Record) (resultSeen, bool) {
	r, _, err := schemas.DecodeResult(rec.Value)
	if err != nil {
		return resultSeen{}, false
	}
	seen := resultSeen{
		Request: spot{r.Request.Partition, r.Request.Offset}, Topic: r.Request.Topic,
		Partition: rec.Partition, Offset: rec.Offset, Key: string(rec.Key),
		Continued: r.Page != nil && r.Page.Index > 0,
		Operation: r.Operation, Outcome: r.Outcome, SID: challengeSID(r.Challenge),
	}
	if r.Error != nil {
		seen.Class = r.Error.Class
	}
	return seen, true
}

// readLetter takes a dead letter apart; false where it is none.
func readLetter(rec kafka.Record) (letterSeen, bool) {
	d, _, err := schemas.DecodeDeadLetter(rec.Headers)
	if err != nil {
		return letterSeen{}, false
	}
	return letterSeen{
		Request: spot{d.Partition, d.Offset}, Topic: d.Topic, HasResult: d.HasResult, Class: d.Class,
	}, true
}

// challengeSID is the sid of an API resource; empty where there is none.
func challengeSID(resource json.RawMessage) string {
	var c struct {
		SID string `json:"sid"`
	}
	if len(resource) == 0 || json.Unmarshal(resource, &c) != nil {
		return ""
	}
	return c.SID
}
