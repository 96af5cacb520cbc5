package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a process that can be told from a later one with the same id.
type process struct {
	pid     int
	started string // clock ticks since boot, as the kernel writes them
}

// stat returns what the kernel says of a process: its state, its parent and
// its start. ok is false where there is none.
func stat(pid int) (state byte, parent int, started string, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, "", false
	}
	// The name, in parentheses, may hold anything.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return 0, 0, "", false
	}
	parent, _ = strconv.Atoi(string(fields[1]))
	return fields[0][0], parent, string(fields[19]), true
}

func (p process) alive() bool {
	state, _, started, ok := stat(p.pid)
	return ok && state != 'Z' && started == p.started
}

// signal does nothing to a process that is gone.
func (p process) signal(s syscall.Signal) {
	if p.pid > 0 && p.alive() {
		_ = syscall.Kill(p.pid, s) // it may end in between
	}
}

// children returns the processes whose parent is pid.
func children(pid int) []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []process
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if _, parent, started, ok := stat(child); ok && parent == pid {
			out = append(out, process{child, started})
		}
	}
	return out
}

// instance is a place in which host processes follow each other: one runs, or
// is about to.
type instance struct {
	t      testing.TB
	name   string
	dir    string // of the configuration and of the logs
	config string

	mu      sync.Mutex
	run     int
	cmd     *exec.Cmd
	host    process
	log     *os.File
	exited  chan struct{}
	err     error     // of the last process that ended
	wanted  bool      // its end was asked for
	orphans []process // plugins whose host was killed
}

// start starts the next host process. It inherits the death of the test
// itself, so that a test that is killed leaves nothing behind.
func (i *instance) start(bin string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.run++
	log, err := os.Create(filepath.Join(i.dir, fmt.Sprintf("%s-%03d.log", i.name, i.run)))
	if err != nil {
		return err
	}
	level := "info"
	if *chaosDebug {
		level = "debug"
	}
	cmd := exec.Command(bin, "host", "--config", i.config, "--log-format", "json", "--log-level", level, "--listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), tokenEnv)
	cmd.Stderr, cmd.Stdout = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		_ = log.Close()
		return err
	}
	_, _, started, _ := stat(cmd.Process.Pid)
	exited := make(chan struct{})
	i.cmd, i.log, i.exited, i.err, i.wanted = cmd, log, exited, nil, false
	i.host = process{cmd.Process.Pid, started}
	go func() {
		err := cmd.Wait()
		i.mu.Lock()
		i.err = err
		i.mu.Unlock()
		_ = log.Close()
		close(exited)
	}()
	return nil
}

// processes returns the host and its plugin; the plugin's id is 0 where there
// is none at the moment.
func (i *instance) processes() (host, plugin process) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if all := children(i.host.pid); len(all) > 0 {
		plugin = all[0]
	}
	return i.host, plugin
}

func (i *instance) gone() <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.exited
}

// expect says that the process may end now.
func (i *instance) expect() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.wanted = true
}

// hosting reports whether the host has a plugin that works, by its log.
func (i *instance) hosting() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	text, err := os.ReadFile(i.log.Name())
	return err == nil && bytes.LastIndex(text, []byte(`"plugin started"`)) > bytes.LastIndex(text, []byte(`"plugin down`))
}

// left reports whether the process has ended, as it was asked to.
func (i *instance) left() bool {
	select {
	case <-i.gone():
	default:
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.wanted
}

// surprise returns how the process ended where nobody asked it to.
func (i *instance) surprise() error {
	select {
	case <-i.gone():
	default:
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.wanted {
		return nil
	}
	i.wanted = true
	return fmt.Errorf("ended by itself (run %d): %w", i.run, errors.Join(i.err, errors.New("nobody asked it to")))
}

// kill ends the host with SIGKILL, and its plugin too unless that is spared:
// then it is an orphan, and has to end by itself.
func (i *instance) kill(spare bool) (host, plugin process) {
	host, plugin = i.processes()
	i.expect()
	if plugin.pid != 0 && !spare {
		plugin.signal(syscall.SIGKILL)
	}
	host.signal(syscall.SIGKILL)
	<-i.gone()
	if spare && plugin.pid != 0 {
		i.mu.Lock()
		i.orphans = append(i.orphans, plugin)
		i.mu.Unlock()
	}
	return host, plugin
}

// drain ends the host in good order and returns how it ended.
func (i *instance) drain(patience time.Duration) error {
	i.expect()
	host, plugin := i.processes()
	host.signal(syscall.SIGTERM)
	select {
	case <-i.gone():
	case <-time.After(patience):
		plugin.signal(syscall.SIGKILL)
		host.signal(syscall.SIGKILL)
		<-i.gone()
		return fmt.Errorf("%s did not end within %v of SIGTERM", i.name, patience)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.err
}

// sweep kills whatever is left, orphans too, and returns the orphans that were.
func (i *instance) sweep() (left []process) {
	host, plugin := i.processes()
	for _, p := range []process{host, plugin} {
		p.signal(syscall.SIGCONT)
		p.signal(syscall.SIGKILL)
	}
	if exited := i.gone(); exited != nil {
		<-exited
	}
	for _, p := range i.orphans {
		if p.alive() {
			left = append(left, p)
			p.signal(syscall.SIGCONT)
			p.signal(syscall.SIGKILL)
		}
	}
	return left
}

// shown says which processes something happened to.
func shown(processes ...process) string {
	var b strings.Builder
	for _, p := range processes {
		fmt.Fprintf(&b, " %d", p.pid)
	}
	return strings.TrimSpace(b.String())
}
