package pluginpb_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/countersign/countersign/plugin/pluginpb"
)

// TestService: what was generated is the protocol's service with its calls, in
// the package that both sides agree on.
func TestService(t *testing.T) {
	services := pluginpb.File_plugin_v1_connector_proto.Services()
	if services.Len() != 1 || services.Get(0).FullName() != "countersign.connector.v1.Connector" {
		t.Fatalf("%d services, the first is %v", services.Len(), services.Get(0).FullName())
	}
	methods := services.Get(0).Methods()
	for _, call := range []string{"Info", "Validate", "Configure", "Start", "Process", "Drain", "Stop", "Watch", "Metrics", "Lease"} {
		found := false
		for i := range methods.Len() {
			found = found || string(methods.Get(i).Name()) == call
		}
		if !found {
			t.Errorf("the call %s is missing", call)
		}
	}
}

// TestMessagesSurviveTheWire: generated code and runtime fit together.
func TestMessagesSurviveTheWire(t *testing.T) {
	in := &pluginpb.ConfigureRequest{Config: []byte("kafka: {}"), Secrets: map[string]string{"env:TOKEN": "value"}}
	wire, err := proto.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	out := new(pluginpb.ConfigureRequest)
	if err := proto.Unmarshal(wire, out); err != nil || !proto.Equal(in, out) {
		t.Errorf("got %v, %v", out, err)
	}
}
