package replay

import (
	"cmp"
	"context"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/connector/challenge/verdict"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// CheckConfig says what Check looks at. Requests, Results and Group must be set.
type CheckConfig struct {
	Requests string // the topic of the requests
	Results  string // the topic of the results
	// DeadLetters are read beside the results: they alone tell of a record that no
	// result can answer, and whether one may be redriven. Empty: not read.
	DeadLetters string
	// Group is the connector's consumer group: answers of others don't count.
	Group  string
	Window Window // of the requests
	// NotAfter is the deadline of a request that has none, as the connector has it.
	// Zero: 5m.
	NotAfter time.Duration
	// Ahead is how much later than its request, by their timestamps, an answer is
	// still looked for. Zero: 24h.
	Ahead time.Duration
	// Skew is how far behind the requests' clocks those of the answers may be. Zero: 10m.
	Skew time.Duration
	// MaxListed is how many differences are listed; all are counted. Zero: 1000.
	MaxListed int
	// Classify judges the end of a call. Nil: as this release does.
	Classify func(write bool, err error) verdict.Verdict
	// Progress is called now and then, by one goroutine at a time. Nil: not.
	Progress func(Progress)

	held  int // requests in memory at once, and answers; zero: maxHeld
	every int // records between two calls of Progress; zero: 2000
}

// What says in what today's result differs from the recorded one. The set is
// closed.
type What string

const (
	WhatDecode     What = "decode"     // the request is read in another way, or not at all, or can be read now
	WhatFaults     What = "faults"     // it is as faulty, but not for the same faults
	WhatOutcome    What = "outcome"    // the outcome
	WhatClass      What = "class"      // the error's class
	WhatLimit      What = "limit"      // the limit that is named
	WhatRedrivable What = "redrivable" // whether its dead letter may be redriven
	WhatForm       What = "form"       // the recorded event is not what this release would write of the same content
)

// Whats returns all, in the report's order.
func Whats() []What {
	return []What{WhatDecode, WhatFaults, WhatOutcome, WhatClass, WhatLimit, WhatRedrivable, WhatForm}
}

// Reason says why a request could not be replayed. The set is closed.
type Reason string

const (
	ReasonNoAnswer      Reason = "no_answer"     // the call's end was none of the API's answers, or that is not recorded
	ReasonLookedUp      Reason = "looked_up"     // settled by a look-up, which is not recorded
	ReasonClock         Reason = "clock"         // too late by the API's clock, which is not recorded
	ReasonLedger        Reason = "ledger"        // a duplicate, or an id with another body
	ReasonConfiguration Reason = "configuration" // an account, or the limits of the guard
	ReasonTooLarge      Reason = "too_large"     // the result was too large to publish as it was
)

// CheckReport is what Check found. Each request of the window that was looked at is
// counted once, as one of the first four.
type CheckReport struct {
	Requests      int64 `json:"requests"`
	Same          int64 `json:"same"`
	Differs       int64 `json:"differs"`
	NotReplayable int64 `json:"not_replayable"` // as far as it can be told they are the same
	Unanswered    int64 `json:"unanswered"`     // neither result nor dead letter was found
	// AnotherGroup are those of Unanswered for which a result of another group was
	// found.
	AnotherGroup int64 `json:"another_group"`

	What    map[What]int64   `json:"what"`    // requests that differ, in each of it; every one, be it 0
	Reasons map[Reason]int64 `json:"reasons"` // of NotReplayable
	// Unreadable are results that this release can't read, as far as they show what
	// they answer. Their requests count as unanswered.
	Unreadable int64 `json:"unreadable"`
	// Differences are the first ones, by the requests' timestamps. Never nil.
	Differences []Difference `json:"differences"`
	// Partitions are those of the requests. Where it was interrupted, each goes on at
	// the first request that was not counted; some behind it were, and are then
	// compared twice.
	Partitions []PartitionReport `json:"partitions"`
}

// Difference is a request whose result would be another one today.
type Difference struct {
	Request   string            `json:"request"` // topic/partition@offset
	Result    string            `json:"result"`  // likewise; that of the dead letter where there is no result
	RequestID string            `json:"request_id,omitempty"`
	Operation schemas.Operation `json:"operation,omitempty"`
	What      []What            `json:"what"` // in the order of Whats
	Recorded  Told              `json:"recorded"`
	Today     Told              `json:"today"`
}

// Told is what a result says, as far as it is compared.
type Told struct {
	// Outcome is empty where there is only a dead letter, and where today the
	// request would wait for better credentials.
	Outcome schemas.Outcome `json:"outcome"`
	Class   schemas.Class   `json:"class,omitempty"`  // empty: no error
	Status  int             `json:"status,omitempty"` // of the recorded answer
	Code    int             `json:"code,omitempty"`   // likewise
	Limit   string          `json:"limit,omitempty"`
}

// CheckReader is what Check needs of Kafka, none of it writing. *kafka.Client is
// one.
type CheckReader interface {
	finder
	Cursor(topic string, partition int, from, end int64, maxBytes int) *kafka.Cursor
}

// Check runs the recorded requests of a window and the recorded answers of the API
// through today's code, and compares with the recorded results. Nothing is written
// and nothing is called. A request is judged by its own timestamp, as when it came.
//
// What a result does not tell is not guessed: an end that was none of the API's
// answers, a look-up, the ledger, the configuration. What of these requests can be
// told is compared all the same.
//
// Each topic is read once. Memory is bounded: so many requests at a time are held,
// without their payloads, while their answers are looked for, and so many answers that
// come before their requests; where there are more of both, answers are read again.
// The error is an *Error; beside it the report
// holds what was compared. Brokers that go away are waited for, and for a minute a
// log that ends earlier than at the start, as it may behind a new leader.
func Check(ctx context.Context, r CheckReader, cfg CheckConfig) (CheckReport, error) {
	c := newCheck(r, cfg)
	if err := cfg.Check(); err != nil {
		return c.report, err
	}
	err := c.run(ctx)
	return c.report, kafkaOrOurs(ctx, err)
}

// kafkaOrOurs makes an *Error of what is none.
func kafkaOrOurs(ctx context.Context, err error) error {
	if err == nil || CodeOf(err) != "" {
		return err
	}
	return kafkaFailed(ctx, err)
}

const maxHeld = 30_000

// Check says what is wrong with the configuration: nil, or an *Error of
// CodeInvalid. The function Check checks it too.
func (cfg CheckConfig) Check() error {
	switch {
	case cfg.Requests == "" || cfg.Results == "":
		return invalid("the topics of requests and results must have names")
	case cfg.Requests == cfg.Results, cfg.DeadLetters == cfg.Requests, cfg.DeadLetters == cfg.Results:
		return invalid("requests, results and dead letters can't be the same topic")
	case cfg.Group == "":
		return invalid("the connector's consumer group has no name")
	case cfg.NotAfter < 0 || cfg.Ahead < 0 || cfg.Skew < 0 || cfg.MaxListed < 0:
		return invalid("durations and the length of the list can't be negative")
	}
	return cfg.Window.check()
}

func (cfg CheckConfig) withDefaults() CheckConfig {
	cfg.NotAfter = cmp.Or(cfg.NotAfter, 5*time.Minute)
	cfg.Ahead = cmp.Or(cfg.Ahead, 24*time.Hour)
	cfg.Skew = cmp.Or(cfg.Skew, 10*time.Minute)
	cfg.MaxListed = cmp.Or(cfg.MaxListed, 1000)
	cfg.held = cmp.Or(cfg.held, maxHeld)
	cfg.every = cmp.Or(cfg.every, 2000)
	if cfg.Classify == nil {
		cfg.Classify = verdict.Classify
	}
	return cfg
}

// answerError is the recorded answer of the API as its client would give it.
func answerError(e *schemas.Error) error {
	return &read.APIError{Status: e.Status, Code: e.Code, Message: e.Message, MoreInfo: e.MoreInfo}
}
