package plugin

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin/pluginpb"
)

// wired is both gRPC edges with nothing but memory between them.
type wired struct {
	*remote
	stub    *stub
	session *session
	lease   *lease
}

func wire(t *testing.T) *wired {
	t.Helper()
	w := &wired{stub: newStub(), lease: newLease()}
	w.session = sessionOf(t, w.stub)
	l := bufconn.Listen(1 << 20)
	s := grpc.NewServer()
	pluginpb.RegisterConnectorServer(s, &server{session: w.session, lease: w.lease})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(l)
	}()
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	w.remote = &remote{pb: pluginpb.NewConnectorClient(conn)}
	t.Cleanup(func() {
		_ = w.session.stop(context.WithoutCancel(t.Context()))
		_ = conn.Close()
		s.Stop()
		<-served
	})
	return w
}

// up brings the plugin to Running, with a lease that lives as long as ctx.
func (w *wired) up(ctx context.Context, t *testing.T) (lost <-chan struct{}) {
	t.Helper()
	lost, err := w.hold(ctx, 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.configure(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return lost
}

func TestCallsOverTheWire(t *testing.T) {
	w := wire(t)
	info, err := w.info(t.Context())
	if err != nil || info.Name != "stub" || !slices.Equal(info.Secrets, []string{"env:A"}) || !slices.Equal(info.Capabilities, []Capability{CapabilitySelfDriven}) {
		t.Errorf("%+v, %v", info, err)
	}
	faults, err := w.validate(t.Context(), []byte("doc"), nil, false)
	if err != nil || !slices.Equal(faults, []connector.Violation{{Path: "doc", Message: "no"}}) {
		t.Errorf("%+v, %v", faults, err)
	}
	_, err = w.validate(t.Context(), nil, nil, true)
	isCode(t, err, CodeInternal)
	w.stub.configErr = &Error{Code: CodeConfig, Violations: []connector.Violation{{Path: "a", Message: "b\xff"}}}
	if e := isCode(t, w.configure(t.Context(), nil, nil), CodeConfig); len(e.Violations) != 1 || e.Violations[0].Path != "a" {
		t.Errorf("%+v", e)
	}
	w.stub.configErr = nil
	isCode(t, w.drain(t.Context(), time.Second, func(Progress) {}), CodeState)
	var metrics strings.Builder
	if err := w.metrics(t.Context(), &metrics); err != nil || metrics.String() != "" {
		t.Errorf("%q, %v", metrics.String(), err)
	}
	if err := w.stop(t.Context()); err != nil {
		t.Error(err)
	}
	isCode(t, w.configure(t.Context(), nil, nil), CodeState)
}

// A client that reads no details still sees what kind of error it is.
func TestStatusCodes(t *testing.T) {
	w := wire(t)
	_, err := w.pb.Configure(t.Context(), &pluginpb.ConfigureRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.pb.Configure(t.Context(), &pluginpb.ConfigureRequest{})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("%v", err)
	}
	stream, err := w.pb.Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	if status.Code(err) != codes.Unimplemented || !strings.Contains(status.Convert(err).Message(), string(CapabilityProcess)) {
		t.Errorf("Process: %v", err)
	}
	isCode(t, fromStatus(err), CodeUnimplemented)
}

// Work begins under a lease only, there is one lease, and it ends the work.
func TestLeaseStream(t *testing.T) {
	w := wire(t)
	if err := w.configure(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	isCode(t, w.start(t.Context()), CodeLease)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lost, err := w.hold(ctx, 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if !w.lease.held() {
		t.Error("not held")
	}
	_, err = w.hold(t.Context(), time.Second)
	isCode(t, err, CodeLease)
	if err := w.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancel()
	within(t, w.lease.gone, "the loss of the lease")
	within(t, lost, "the end of the stream")
	if grace, why := w.lease.terms(); grace != 3*time.Second || why == "" || w.lease.held() {
		t.Errorf("grace %v, why %q, held %v", grace, why, w.lease.held())
	}
}

// The drain is not the call's: a cancelled call leaves it going, and the next
// one joins it.
func TestDrainOutlivesItsCall(t *testing.T) {
	w := wire(t)
	w.up(t.Context(), t)
	ctx, cancel := context.WithCancel(t.Context())
	err := w.drain(ctx, time.Minute, func(p Progress) {
		if p.Held == 5 {
			cancel()
		}
	})
	isCode(t, err, CodeCanceled)
	frames := make(chan Progress, 16)
	result := make(chan error, 1)
	go func() { result <- w.drain(t.Context(), time.Minute, func(p Progress) { frames <- p }) }()
	within(t, frames, "a progress frame")
	w.stub.set(func(st *connector.Status) { st.InFlight = 1 })
	for p := within(t, frames, "the next frame"); p.InFlight != 1; {
		p = within(t, frames, "the changed frame")
	}
	w.stub.finish <- nil
	if err := within(t, result, "the end"); err != nil {
		t.Error(err)
	}
	if err := w.drain(t.Context(), time.Minute, func(Progress) {}); err != nil {
		t.Errorf("a drain after the end: %v", err)
	}
}

// Watch: a snapshot at once, then changes and heartbeats, failures with their
// reason.
func TestWatchStream(t *testing.T) {
	w := wire(t)
	type frame struct {
		st      connector.Status
		changed bool
	}
	frames := make(chan frame, 1024)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watcher, err := w.watch(ctx, time.Millisecond, func(st connector.Status, changed bool) { frames <- frame{st, changed} })
	if err != nil {
		t.Fatal(err)
	}
	if f := within(t, frames, "the snapshot"); !f.changed || f.st.State != connector.StateNew {
		t.Errorf("first frame %+v", f)
	}
	for f := within(t, frames, "a frame"); f.changed; {
		f = within(t, frames, "a heartbeat")
	}
	w.up(t.Context(), t)
	w.stub.set(func(st *connector.Status) { st.Reason = "busy" })
	for f := within(t, frames, "a frame"); f.st.Reason != "busy" || !f.changed; {
		f = within(t, frames, "the change")
	}
	w.stub.fail <- &Error{Code: CodeConfig, Message: "revoked"}
	within(t, watcher.failed, "the failure")
	if e := watcher.why(); e.Code != CodeInternal || !strings.Contains(e.Message, "revoked") {
		t.Errorf("%+v", e)
	}
	cancel()
	within(t, watcher.ended, "the end of the stream")
}

// The watchdog counts ticks without a frame, in a row.
func TestWatchdog(t *testing.T) {
	w := &watcher{failed: make(chan struct{})}
	dog := watchdog{w: w}
	silence := func(n int) (hung bool) {
		for range n {
			hung = dog.tick()
		}
		return hung
	}
	if silence(missedHeartbeats - 1) {
		t.Error("hung too early")
	}
	w.count(connector.Status{}, nil)
	if silence(missedHeartbeats) { // the first of them saw the frame
		t.Error("a frame did not count")
	}
	if !silence(1) {
		t.Error("not hung after all intervals")
	}
}
