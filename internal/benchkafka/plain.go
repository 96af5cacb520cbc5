package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// plainLoop is the connector that one writes in an afternoon: a group reader, a
// queue for each key, the call, a Writer for the results, and commits of what is
// done in a row. It calls twice and publishes twice after any crash, checks nothing,
// and has no limits.
type plainLoop struct {
	spec   spec
	reader *kafkago.Reader
	writer *kafkago.Writer
	client *http.Client
	slots  chan struct{}
	failed chan error

	mu     sync.Mutex
	queues map[string][]kafkago.Message // of keys with a call under way: what waits behind it
	done   map[int]*doneRow             // by partition
	count  int
	all    chan struct{} // closed with the last
}

// doneRow finds how far a partition is done without a gap.
type doneRow struct {
	next  int64
	ahead map[int64]bool
	dirty bool
}

type plainRequest struct {
	ID         string `json:"id"`
	ServiceSID string `json:"service_sid"`
	Identity   string `json:"identity"`
	Create     struct {
		FactorSID string `json:"factor_sid"`
	} `json:"create"`
}

type plainResult struct {
	RequestID string          `json:"request_id"`
	Challenge json.RawMessage `json:"challenge"`
}

// plainCommit is how often offsets are committed.
const plainCommit = 100 * time.Millisecond

func plain(ctx context.Context, m *meter, s spec) error {
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	p := &plainLoop{
		spec: s, client: newHTTPClient(s.InFlight), slots: make(chan struct{}, s.InFlight), failed: make(chan error, s.InFlight),
		queues: map[string][]kafkago.Message{}, done: map[int]*doneRow{}, all: make(chan struct{}),
		reader: kafkago.NewReader(kafkago.ReaderConfig{
			Brokers: s.Brokers, GroupID: s.group(), Topic: s.requests(), MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 250 * time.Millisecond,
			StartOffset: kafkago.FirstOffset, IsolationLevel: kafkago.ReadCommitted, QueueCapacity: 1000,
		}),
		writer: &kafkago.Writer{
			Addr: kafkago.TCP(s.Brokers...), Topic: s.results(), Balancer: kafkago.Murmur2Balancer{}, BatchSize: 1000,
			BatchTimeout: time.Millisecond, RequiredAcks: kafkago.RequireAll, Transport: transport,
		},
	}
	defer func() {
		_ = p.reader.Close() // only reads
		_ = p.writer.Close() // nothing is waiting in it
	}()
	if err := m.say(said{Ready: true}); err != nil {
		return err
	}
	err := p.run(ctx, m)
	if errors.Is(err, context.Canceled) && s.Requests == 0 {
		return nil
	}
	return err
}

func (p *plainLoop) run(ctx context.Context, m *meter) error {
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()
	read := make(chan kafkago.Message)
	workers.Go(func() {
		for {
			msg, err := p.reader.FetchMessage(ctx)
			if err != nil {
				p.fail(err)
				return
			}
			select {
			case read <- msg:
			case <-ctx.Done():
				return
			}
		}
	})
	tick := time.NewTicker(plainCommit)
	defer tick.Stop()
	started := false
	for {
		select {
		case err := <-p.failed:
			return err
		case <-p.all:
			if err := p.commit(ctx); err != nil {
				return err
			}
			return m.stop(p.spec.Requests, 0)
		case <-tick.C:
			if err := p.commit(ctx); err != nil {
				return err
			}
		case msg := <-read:
			if !started {
				started = true
				if err := m.start(); err != nil {
					return err
				}
			}
			if p.enqueue(msg) {
				workers.Go(func() { p.work(ctx, msg) })
			}
		}
	}
}

func (p *plainLoop) fail(err error) {
	select {
	case p.failed <- err:
	default:
	}
}

// enqueue reports whether no other record of the key is under way.
func (p *plainLoop) enqueue(msg kafkago.Message) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	row := p.done[msg.Partition]
	if row == nil {
		row = &doneRow{next: msg.Offset, ahead: map[int64]bool{}}
		p.done[msg.Partition] = row
	}
	waiting, busy := p.queues[string(msg.Key)]
	if !busy {
		p.queues[string(msg.Key)] = nil
		return true
	}
	p.queues[string(msg.Key)] = append(waiting, msg)
	return false
}

// work answers a record and then those of its key behind it.
func (p *plainLoop) work(ctx context.Context, msg kafkago.Message) {
	for more := true; more; {
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		value, err := p.answer(ctx, msg)
		<-p.slots
		if err == nil {
			err = p.writer.WriteMessages(ctx, kafkago.Message{Key: msg.Key, Value: value})
		}
		if err != nil {
			p.fail(err)
			return
		}
		msg, more = p.next(msg)
	}
}

func (p *plainLoop) answer(ctx context.Context, msg kafkago.Message) ([]byte, error) {
	var req plainRequest
	if err := json.Unmarshal(msg.Value, &req); err != nil {
		return nil, err
	}
	body, err := create(ctx, p.client, p.spec.API, factor{Service: req.ServiceSID, Identity: req.Identity, SID: req.Create.FactorSID})
	if err != nil {
		return nil, err
	}
	return json.Marshal(plainResult{RequestID: req.ID, Challenge: body})
}

func (p *plainLoop) next(msg kafkago.Message) (kafkago.Message, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	row := p.done[msg.Partition]
	row.ahead[msg.Offset] = true
	for row.ahead[row.next] {
		delete(row.ahead, row.next)
		row.next, row.dirty = row.next+1, true
	}
	if p.count++; p.count == p.spec.Requests {
		close(p.all)
	}
	waiting := p.queues[string(msg.Key)]
	if len(waiting) == 0 {
		delete(p.queues, string(msg.Key))
		return kafkago.Message{}, false
	}
	p.queues[string(msg.Key)] = waiting[1:]
	return waiting[0], true
}

func (p *plainLoop) commit(ctx context.Context) error {
	p.mu.Lock()
	var done []kafkago.Message
	for partition, row := range p.done {
		if row.dirty {
			row.dirty = false
			done = append(done, kafkago.Message{Topic: p.spec.requests(), Partition: partition, Offset: row.next - 1})
		}
	}
	p.mu.Unlock()
	if len(done) == 0 {
		return nil
	}
	return p.reader.CommitMessages(ctx, done...)
}

func plainID(value []byte) (string, error) {
	var res plainResult
	err := json.Unmarshal(value, &res)
	return res.RequestID, err
}
