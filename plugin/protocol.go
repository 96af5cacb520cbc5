package plugin

import (
	"context"
	"errors"
	"io"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/countersign/countersign/plugin/pluginpb"
)

//go:generate go run -C ../internal/protogen .

// ProtocolVersion is the version that host and plugin agree on in the
// handshake. It is the number in the .proto's package name, and changes only
// when a host of the old version would break; see Capability for additions.
const ProtocolVersion = 1

// serviceName is the name under which the one service is dispensed.
const serviceName = "connector"

// handshake makes a binary that was started by hand say what it is. It is no
// security measure: that is mutual TLS and the checksum.
var handshake = goplugin.HandshakeConfig{
	MagicCookieKey:   "COUNTERSIGN_PLUGIN",
	MagicCookieValue: "3f6f1c6b8d1e4f0a9b52c7e0d4a81b97",
}

// versioned lists what this build speaks, by protocol version.
func versioned(g *grpcPlugin) map[int]goplugin.PluginSet {
	return map[int]goplugin.PluginSet{ProtocolVersion: {serviceName: g}}
}

// grpcPlugin is what go-plugin wants to have: on the plugin's side it registers
// the service, on the host's side it makes a client of the connection.
type grpcPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	server pluginpb.ConnectorServer // nil on the host's side
}

// GRPCServer registers the service.
func (p *grpcPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	if p.server == nil {
		return errors.New("plugin: nothing to serve")
	}
	pluginpb.RegisterConnectorServer(s, p.server)
	return nil
}

// GRPCClient returns a *remote.
func (p *grpcPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return &remote{pb: pluginpb.NewConnectorClient(conn)}, nil
}

// silent is the logger that go-plugin gets in a host. Whatever it logs of a
// plugin's lines it parses first, and that parser panics on {"@message":1}; the
// host reads stderr itself. hclog's null logger would not do: it counts as
// enabled.
func silent() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
}
