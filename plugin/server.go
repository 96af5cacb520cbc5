package plugin

import (
	"bytes"
	"context"

	"github.com/countersign/countersign/plugin/pluginpb"
)

// server is the plugin's gRPC edge: it turns messages into calls of the session
// and errors into statuses, and holds no state of its own. The calls that
// stream are in server_stream.go.
type server struct {
	session *session
	lease   *lease
}

var _ pluginpb.ConnectorServer = (*server)(nil)

func (s *server) Info(context.Context, *pluginpb.InfoRequest) (*pluginpb.InfoResponse, error) {
	info := s.session.c.Info()
	out := &pluginpb.InfoResponse{
		Name:            info.Name,
		Version:         info.Version,
		ProtocolVersion: ProtocolVersion,
		ConfigSchema:    info.ConfigSchema,
		Secrets:         info.Secrets,
	}
	for _, c := range info.Capabilities {
		out.Capabilities = append(out.Capabilities, string(c))
	}
	return out, nil
}

func (s *server) Validate(ctx context.Context, in *pluginpb.ValidateRequest) (*pluginpb.ValidateResponse, error) {
	violations, err := s.session.c.Validate(ctx, in.GetConfig(), in.GetSecrets(), in.GetProbe())
	if err != nil {
		return nil, toStatus(err)
	}
	return &pluginpb.ValidateResponse{Violations: violationsToPB(violations)}, nil
}

func (s *server) Configure(ctx context.Context, in *pluginpb.ConfigureRequest) (*pluginpb.ConfigureResponse, error) {
	if err := s.session.configure(ctx, in.GetConfig(), in.GetSecrets()); err != nil {
		return nil, toStatus(err)
	}
	return &pluginpb.ConfigureResponse{}, nil
}

// Start is refused without a lease: work that nobody would notice being
// orphaned must not begin.
func (s *server) Start(ctx context.Context, _ *pluginpb.StartRequest) (*pluginpb.StartResponse, error) {
	if !s.lease.held() {
		return nil, toStatus(&Error{Code: CodeLease, Message: "Start needs a Lease stream that is held open"})
	}
	if err := s.session.start(ctx); err != nil {
		return nil, toStatus(err)
	}
	return &pluginpb.StartResponse{}, nil
}

func (s *server) Stop(ctx context.Context, _ *pluginpb.StopRequest) (*pluginpb.StopResponse, error) {
	if err := s.session.stop(ctx); err != nil {
		return nil, toStatus(err)
	}
	return &pluginpb.StopResponse{}, nil
}

func (s *server) Metrics(context.Context, *pluginpb.MetricsRequest) (*pluginpb.MetricsResponse, error) {
	var text bytes.Buffer
	if err := s.session.c.WriteMetrics(&text); err != nil {
		return nil, toStatus(err)
	}
	return &pluginpb.MetricsResponse{Text: text.Bytes()}, nil
}
