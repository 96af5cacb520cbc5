package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/countersign/countersign/plugin/pluginpb"
)

// frozen holds the digest of each protocol's .proto as it was released. A
// release is never edited: what breaks a host is a new version with a file of
// its own; what does not is a capability.
var frozen = map[int]string{
	1: "5cf2bc4a83ec5cf5e860a1a077c462146ef8a5542138fd0840b894483330bc31",
}

func TestProtoIsFrozen(t *testing.T) {
	for version, want := range frozen {
		content, err := os.ReadFile(fmt.Sprintf("../schemas/plugin/v%d/connector.proto", version))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("version %d has the digest %s, want %s", version, got, want)
		}
	}
	if len(frozen) != ProtocolVersion {
		t.Errorf("%d frozen versions, the newest is %d", len(frozen), ProtocolVersion)
	}
}

// The constant, the .proto's package and what is served are one version.
func TestProtocolVersion(t *testing.T) {
	file := pluginpb.File_plugin_v1_connector_proto
	if want := protoreflect.FullName(fmt.Sprintf("countersign.connector.v%d", ProtocolVersion)); file.Package() != want {
		t.Errorf("package %s, want %s", file.Package(), want)
	}
	sets := versioned(&grpcPlugin{})
	if _, ok := sets[ProtocolVersion]; !ok || len(sets) != ProtocolVersion {
		t.Errorf("served versions %v", sets)
	}
	if handshake.ProtocolVersion != 0 {
		t.Error("the handshake config has a version beside the versioned sets")
	}
}

// Every code and state of the .proto has a Go value, and the other way round.
func TestEnumsAreComplete(t *testing.T) {
	if got, want := len(wireCodes), len(pluginpb.Failure_Code_name)-1; got != want {
		t.Errorf("%d codes, the .proto has %d", got, want)
	}
	if got, want := len(wireStates), len(pluginpb.State_name)-1; got != want {
		t.Errorf("%d states, the .proto has %d", got, want)
	}
}
