package scale

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// userHZ is what the kernel counts CPU time in for /proc, on every platform
// that Go runs on.
const userHZ = 100

// usage is what a process has used since it began.
type usage struct {
	cpu    time.Duration
	writes int64 // system calls; nearly all of an idle member's are requests to the broker
}

func used(pid int) (u usage) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	// The name, in parentheses, may hold anything.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) > 12 {
		user, _ := strconv.ParseInt(string(fields[11]), 10, 64)
		system, _ := strconv.ParseInt(string(fields[12]), 10, 64)
		u.cpu = time.Duration(user+system) * time.Second / userHZ
	}
	u.writes = field(fmt.Sprintf("/proc/%d/io", pid), "syscw:")
	return u
}

func (u usage) since(before usage) usage {
	return usage{cpu: u.cpu - before.cpu, writes: u.writes - before.writes}
}

// rss is the resident memory in bytes.
func rss(pid int) int64 { return 1024 * field(fmt.Sprintf("/proc/%d/status", pid), "VmRSS:") }

func fds(pid int) int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries)
}

// field is the number behind a name in one of the kernel's files; zero where
// there is none.
func field(path, name string) int64 {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}

// brokerPID is the process of the broker that this test has started.
func brokerPID() int {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || field(fmt.Sprintf("/proc/%d/status", pid), "PPid:") != int64(os.Getpid()) {
			continue
		}
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if bytes.Contains(line, []byte("kafka.Kafka\x00")) {
			return pid
		}
	}
	return 0
}
