package demo

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// safeBuffer is an output that can be read meanwhile, and tells who waits for a
// text when it comes.
type safeBuffer struct {
	mu    sync.Mutex
	text  bytes.Buffer
	await string
	found func()
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Write(p)
	if b.await != "" && strings.Contains(b.text.String(), b.await) {
		b.await = ""
		b.found()
	}
	return len(p), nil
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// TestKeep: the demo stays up, says how to connect, serves other tools, and
// counts what they sent too.
func TestKeep(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	kept := make(chan struct{})
	out := &safeBuffer{await: "Ctrl-C ends it.", found: func() { close(kept) }}
	o := testOptions(t)
	o.Requests, o.Keep, o.Out = 20, true, out
	type end struct {
		sum *Summary
		err error
	}
	ended := make(chan end, 1)
	go func() { sum, err := Run(ctx, o); ended <- end{sum, err} }()
	select {
	case <-kept:
	case e := <-ended:
		t.Fatalf("it did not stay up: %+v, %v\n%s", e.sum, e.err, out)
	}
	sendAsTold(t, out.String())
	leave()
	e := <-ended
	if e.err != nil || len(e.sum.Problems()) > 0 {
		t.Fatalf("%+v, %v", e.sum, e.err)
	}
	if e.sum.Requests != o.Requests+1 {
		t.Errorf("%d requests, want the stream's %d and one more", e.sum.Requests, o.Requests)
	}
}

// sendAsTold sends a list request to where the text says, and waits for its
// result.
func sendAsTold(t *testing.T, text string) {
	t.Helper()
	var address, identity, service string
	for line := range strings.Lines(text) {
		if strings.Contains(line, "--operation list") {
			if _, err := fmt.Sscanf(strings.TrimSpace(line), "countersign send --brokers %s --wait --operation list --service-sid %s --identity %s",
				&address, &service, &identity); err != nil {
				t.Fatalf("%v in %q", err, line)
			}
		}
	}
	client, err := kafka.NewClient(kafka.Config{Brokers: []string{address}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	value, err := (&schemas.Request{ID: "from-outside", Operation: schemas.OperationList, ServiceSID: service, Identity: identity}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Produce(t.Context(), []kafka.Message{{Topic: demoTopics.requests, Key: []byte(identity), Value: value}}); err != nil {
		t.Fatal(err)
	}
	known := newTracker()
	ctx, stop := context.WithCancel(t.Context())
	var following sync.WaitGroup
	following.Go(func() { known.follow(ctx, client, demoTopics) })
	defer following.Wait()
	defer stop()
	for range known.changed {
		if _, done := known.end("from-outside"); done {
			return
		}
		if err := known.err(); err != nil {
			t.Fatal(err)
		}
	}
}
