// Package plugin lets a host pipeline load the connector as a go-plugin plugin:
// a process of its own, called over gRPC. It is the only package that imports
// go-plugin and grpc; the protocol is schemas/plugin/v1/connector.proto. It
// runs on Unix.
//
// # For the author of a host
//
// Run is the one call: it takes a Spec and keeps the plugin working until the
// context ends. A nil error means that nothing was abandoned. NewSupervisor
// gives a handle to ask for status, metrics and process id meanwhile; Describe
// and Check ask a plugin without setting it to work; Embed runs a Connector in
// the host's own process; package plugintest has a fake one. Run's example is a
// whole host.
//
// # What a host gets
//
//   - Nothing but the binary with the right SHA-256 is started, with the
//     environment that the Spec lists and nothing of the host's. Secrets travel
//     in Configure and Validate only, over mutual TLS that no other process can
//     join, and are fetched anew for every start.
//   - A plugin that crashes, hangs or fails is replaced after a jittered pause.
//     What cannot get better is not retried: a wrong configuration, binary or
//     protocol. Error.Code says what it was, by a closed set.
//   - Hung is who sends no heartbeat for three intervals. Heartbeats ask the
//     engine for its status, so an engine that is stuck in a live process counts
//     as hung too. A hung process is killed with its group, stopped or not.
//   - When the context ends the plugin drains: it takes no new work, finishes
//     what is in flight, commits, leaves, and says so, before it is ended. What
//     the drain timeout leaves unfinished is an error with its number.
//   - Whatever the plugin prints becomes one log record a line and can do no
//     more than that.
//   - When Run returns, no process, socket or goroutine is left.
//
// # When the host is gone
//
// A host that is killed can no longer drain anybody. The plugin notices by its
// lease: a pipe that it inherited and a stream that the host holds open. The
// kernel breaks both, and either is enough. Then the plugin takes no new work,
// finishes and commits what is in flight within the orphan grace, leaves the
// group, removes its socket and ends. It ignores SIGPIPE, since its stderr has
// no reader any more, and never waits for that reader, who may just be stopped.
// A host that is restarted at once overlaps the draining orphan; the consumer
// group and the fencing of producers keep the two apart.
//
// Linux could kill the plugin together with its host (Pdeathsig). That is what
// must not happen: the calls in flight would be lost, and "the host" would be
// whichever thread forked the plugin.
//
// # Signals
//
// SIGINT and SIGTERM to a plugin are left to its host as long as that one
// lives. A terminal's Ctrl-C does not reach the plugin, which has a process
// group of its own; a service manager signals both, and the host answers with a
// drain. A plugin that reacted by itself would only leave its host with a
// crash. To end a plugin, end its host; to end it without a drain, SIGKILL. A
// plugin that no host holds drains and ends on either signal. A service
// manager's stop timeout should exceed Spec.DrainTimeout plus twice
// Spec.KillTimeout.
//
// # For the author of a plugin
//
// Serve is the whole of main, and the Connector interface is plain Go. Nothing
// may be printed to stdout before the handshake, and logs go through the logger
// that ServeConfig.New is given.
package plugin
