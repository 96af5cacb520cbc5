package plugin

import goplugin "github.com/hashicorp/go-plugin"

// Handshake lets a test make a plugin of its own.
func Handshake() goplugin.HandshakeConfig { return handshake }

// BreakLeasePipe closes the host's end of the lease pipe, as the kernel does
// when the host dies; the Lease stream stays.
func (s *Supervisor) BreakLeasePipe() error { return s.current().proc.lease.Close() }
