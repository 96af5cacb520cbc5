package plugin

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/countersign/countersign/plugin/pluginpb"
)

// agreed lists what of a protocol a host and a plugin of different ages have to
// agree on: every call, field and number.
func agreed(file protoreflect.FileDescriptor) []string {
	var out []string
	for i := range file.Services().Len() {
		service := file.Services().Get(i)
		for j := range service.Methods().Len() {
			m := service.Methods().Get(j)
			out = append(out, fmt.Sprintf("call %s(%s %s) %s %s", m.Name(), streams(m.IsStreamingClient()), m.Input().Name(),
				streams(m.IsStreamingServer()), m.Output().Name()))
		}
	}
	for i := range file.Enums().Len() {
		out = append(out, values(file.Enums().Get(i))...)
	}
	for i := range file.Messages().Len() {
		m := file.Messages().Get(i)
		for j := range m.Enums().Len() {
			out = append(out, values(m.Enums().Get(j))...)
		}
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			kind := f.Kind().String()
			if f.Message() != nil {
				kind = string(f.Message().FullName())
			}
			out = append(out, fmt.Sprintf("field %s.%s = %d %s %s presence=%v", m.Name(), f.Name(), f.Number(), f.Cardinality(), kind, f.HasPresence()))
		}
	}
	slices.Sort(out)
	return out
}

func streams(many bool) string {
	if many {
		return "stream"
	}
	return "one"
}

func values(e protoreflect.EnumDescriptor) (out []string) {
	for i := range e.Values().Len() {
		out = append(out, fmt.Sprintf("value %s.%s = %d", e.Name(), e.Values().Get(i).Name(), e.Values().Get(i).Number()))
	}
	return out
}

// released is what each protocol had when it was first released. Lines are
// added, where a capability announces them, and never changed: what breaks a host is a
// new version with a file of its own.
var released = map[int]string{1: "testdata/protocol/v1.golden"}

func TestProtocolOnlyGrows(t *testing.T) {
	for version, path := range released {
		golden, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		now := agreed(pluginpb.File_plugin_v1_connector_proto)
		lines := strings.Split(strings.TrimSpace(string(golden)), "\n")
		for _, line := range lines {
			if !slices.Contains(now, line) {
				t.Errorf("version %d has lost: %s", version, line)
			}
		}
		for _, line := range now {
			if !slices.Contains(lines, line) {
				t.Errorf("version %d has grown: give it a capability, and add to %s: %s", version, path, line)
			}
		}
	}
	if len(released) != ProtocolVersion {
		t.Errorf("%d released versions, the newest is %d", len(released), ProtocolVersion)
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
