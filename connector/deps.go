package connector

import (
	"context"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// source is the part of a kafka.Session that a lane reads from.
type source interface {
	Position(ctx context.Context) (kafka.Position, error)
	Range(ctx context.Context) (kafka.Range, error)
	Fetch(ctx context.Context, offset int64, maxBytes int, maxWait time.Duration) (kafka.Fetched, error)
}

// lease says for how much longer a lane may send calls; nothing above zero
// means that it may not. *kafka.Lease is one.
type lease interface{ Left() time.Duration }

// laneDeps is what a lane works with.
type laneDeps struct {
	source   source
	delivery delivery
	memory   memory
	lease    lease
	ledger   *ledger
	vitals   *vitals // nil: nobody watches
}
