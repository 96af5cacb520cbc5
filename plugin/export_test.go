package plugin

import goplugin "github.com/hashicorp/go-plugin"

// Handshake lets a test make a plugin of its own.
func Handshake() goplugin.HandshakeConfig { return handshake }
