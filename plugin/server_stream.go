package plugin

import (
	"time"

	"github.com/countersign/countersign/plugin/pluginpb"
)

// frameGap is the least time between two frames of a Watch or a Drain: changes
// that come faster are sent as one. The last frame of a Drain does not wait.
const frameGap = 50 * time.Millisecond

// Watch asks the Connector for its Status before every frame, heartbeats
// included: an engine that is stuck sends none, and counts as hung.
func (s *server) Watch(in *pluginpb.WatchRequest, stream pluginpb.Connector_WatchServer) error {
	ctx := stream.Context()
	heartbeat := time.NewTicker(durationFromPB(in.GetHeartbeat(), DefaultHeartbeatInterval))
	defer heartbeat.Stop()
	gap := time.NewTimer(0)
	defer gap.Stop()
	kind := pluginpb.WatchResponse_KIND_SNAPSHOT
	var changes, moved <-chan struct{} // closed at a change since the last frame
	for {
		// The gap, first of zero length. Whatever changes in it is in the frame.
		select {
		case <-gap.C:
		case <-ctx.Done():
			return nil
		}
		// A change after this line is in the next frame; one before it makes
		// this frame a change, also where the heartbeat was faster.
		nextChanges := s.session.c.Changes()
		st, nextMoved, failure := s.session.status()
		if closed(changes) || closed(moved) {
			kind = pluginpb.WatchResponse_KIND_CHANGE
		}
		changes, moved = nextChanges, nextMoved
		frame := &pluginpb.WatchResponse{Kind: kind, Status: statusToPB(st), Failure: failureToPB(failure)}
		if err := stream.Send(frame); err != nil {
			return err
		}
		kind = pluginpb.WatchResponse_KIND_HEARTBEAT
		gap.Reset(frameGap)
		select {
		case <-changes:
		case <-moved:
		case <-heartbeat.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// closed reports whether c is closed; nil is not.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Drain starts the drain, or joins it, and follows it to its end. The drain is
// the session's: when this call is cancelled it goes on.
func (s *server) Drain(in *pluginpb.DrainRequest, stream pluginpb.Connector_DrainServer) error {
	d, err := s.session.startDrain(durationFromPB(in.GetTimeout(), DefaultDrainTimeout))
	if err != nil {
		return toStatus(err)
	}
	ctx := stream.Context()
	gap := time.NewTicker(frameGap)
	defer gap.Stop()
	for {
		p, changed := d.watch()
		if closed(d.done) {
			return stream.Send(&pluginpb.DrainResponse{Frame: &pluginpb.DrainResponse_End{
				End: &pluginpb.DrainEnd{Failure: failureToPB(d.err)},
			}})
		}
		err := stream.Send(&pluginpb.DrainResponse{Frame: &pluginpb.DrainResponse_Progress{
			Progress: &pluginpb.DrainProgress{InFlight: int64(p.InFlight), Held: int64(p.Held)},
		}})
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-d.done:
		case <-ctx.Done():
			return nil
		}
		select {
		case <-gap.C:
		case <-d.done:
		case <-ctx.Done():
			return nil
		}
	}
}

// Lease answers once, and then waits for the stream to break. A host that
// closes its side in order lets go of us just as well.
func (s *server) Lease(stream pluginpb.Connector_LeaseServer) error {
	in, err := stream.Recv()
	if err != nil {
		return err
	}
	if err := s.lease.open(durationFromPB(in.GetOrphanGrace(), DefaultOrphanGrace)); err != nil {
		return toStatus(err)
	}
	defer s.lease.lose("the lease stream broke")
	if err := stream.Send(&pluginpb.LeaseResponse{}); err != nil {
		return err
	}
	for {
		if _, err := stream.Recv(); err != nil {
			return nil
		}
	}
}

// Process is reserved: no plugin of this package has CapabilityProcess.
func (s *server) Process(pluginpb.Connector_ProcessServer) error {
	return toStatus(&Error{
		Code:    CodeUnimplemented,
		Message: "this plugin reads and writes Kafka itself; it lacks the capability " + string(CapabilityProcess),
	})
}
