// Package pluginpb is generated from schemas/plugin/v1/connector.proto by
// internal/protogen. Its types stay at the edge: package plugin turns them into
// plain Go and back, and nobody else needs them.
package pluginpb
