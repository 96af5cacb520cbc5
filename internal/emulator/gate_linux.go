package emulator

import (
	"net"

	"golang.org/x/sys/unix"
)

// refuseNew makes the kernel drop every further SYN for the listening socket,
// so that no connection begins; handshakes under way complete and queued ones are not touched.
// Where the kernel won't, a connection completed between the last accept and the
// close is reset, which takes bad luck but can happen.
func refuseNew(ln *net.TCPListener) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return
	}
	const flags, syn = 13, 0x02 // of the TCP header, which the filter sees first
	dropSYN := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 0, Jf: 1, K: syn},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1},
	}
	program := unix.SockFprog{Len: uint16(len(dropSYN)), Filter: &dropSYN[0]}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program)
	})
}

// queued is how many completed connections wait to be accepted: for a
// listening socket that is tcpi_unacked. Zero where it can't be known.
func queued(ln *net.TCPListener) int {
	n := 0
	raw, err := ln.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = int(info.Unacked)
		}
	})
	return n
}
