package plugin

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin/pluginpb"
)

// remote is the host's gRPC edge: the calls of a plugin in plain Go. Every
// error is an *Error.
type remote struct {
	pb pluginpb.ConnectorClient
}

// info also returns the protocol version that the plugin says it speaks.
func (r *remote) info(ctx context.Context) (Info, error) {
	out, err := r.pb.Info(ctx, &pluginpb.InfoRequest{})
	if err != nil {
		return Info{}, fromStatus(err)
	}
	info := Info{
		Name:         out.GetName(),
		Version:      out.GetVersion(),
		ConfigSchema: out.GetConfigSchema(),
		Secrets:      out.GetSecrets(),
	}
	for _, c := range out.GetCapabilities() {
		info.Capabilities = append(info.Capabilities, Capability(c))
	}
	return info, nil
}

func (r *remote) validate(ctx context.Context, doc []byte, secrets map[string]string, probe bool) ([]connector.Violation, error) {
	out, err := r.pb.Validate(ctx, &pluginpb.ValidateRequest{Config: doc, Secrets: secrets, Probe: probe})
	if err != nil {
		return nil, fromStatus(err)
	}
	return violationsFromPB(out.GetViolations()), nil
}

func (r *remote) configure(ctx context.Context, doc []byte, secrets map[string]string) error {
	_, err := r.pb.Configure(ctx, &pluginpb.ConfigureRequest{Config: doc, Secrets: secrets})
	return fromStatus(err)
}

func (r *remote) start(ctx context.Context) error {
	_, err := r.pb.Start(ctx, &pluginpb.StartRequest{})
	return fromStatus(err)
}

// drain returns nil where everything is finished and committed. Without the
// last frame nobody knows what was left: that is an error.
func (r *remote) drain(ctx context.Context, timeout time.Duration, progress func(Progress)) error {
	stream, err := r.pb.Drain(ctx, &pluginpb.DrainRequest{Timeout: durationToPB(timeout)})
	if err != nil {
		return fromStatus(err)
	}
	for {
		frame, err := stream.Recv()
		if err != nil {
			return fromStatus(err)
		}
		switch f := frame.GetFrame().(type) {
		case *pluginpb.DrainResponse_Progress:
			progress(Progress{InFlight: int(f.Progress.GetInFlight()), Held: int(f.Progress.GetHeld())})
		case *pluginpb.DrainResponse_End:
			if e := failureFromPB(f.End.GetFailure()); e != nil {
				return e
			}
			return nil
		}
	}
}

func (r *remote) stop(ctx context.Context) error {
	_, err := r.pb.Stop(ctx, &pluginpb.StopRequest{})
	return fromStatus(err)
}

func (r *remote) metrics(ctx context.Context, w io.Writer) error {
	out, err := r.pb.Metrics(ctx, &pluginpb.MetricsRequest{})
	if err != nil {
		return fromStatus(err)
	}
	_, err = w.Write(out.GetText())
	return err
}

// hold opens the Lease stream and returns when the plugin has answered. The
// stream lives as long as ctx; lost is closed when it has ended.
func (r *remote) hold(ctx context.Context, grace time.Duration) (lost <-chan struct{}, err error) {
	stream, err := r.pb.Lease(ctx)
	if err != nil {
		return nil, fromStatus(err)
	}
	// A refusal shows in Recv; Send then says no more than EOF.
	sendErr := stream.Send(&pluginpb.LeaseRequest{OrphanGrace: durationToPB(grace)})
	if sendErr != nil && !errors.Is(sendErr, io.EOF) {
		return nil, fromStatus(sendErr)
	}
	if _, err := stream.Recv(); err != nil {
		return nil, fromStatus(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := stream.Recv(); err != nil {
				return
			}
		}
	}()
	return ended, nil
}
