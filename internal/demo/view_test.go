package demo

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connector"
)

func testProgress() *progress {
	return &progress{
		Elapsed: 3200 * time.Millisecond, Phase: "sending", Seed: 7, Total: 200, Sent: 64, Answered: 60, Answers: []int{25, 35},
		Outcomes: map[string]int{"rejected": 14, "succeeded": 41, "expired": 3}, Letters: 5,
		Calls: 50, Creates: 21, InFlight: 2, Approved: 9, Denied: 4, Ignored: 1, PID: 4242,
		Status: connector.Status{
			State:    connector.StateRunning,
			Accounts: []connector.AccountStatus{{Name: "demo", Breaker: "open", Penalty: "300ms"}},
			Counters: connector.Counters{Retries: 6, BreakerOpens: 1},
			Latency:  connector.Latency{P50: 0.041, P99: 0.0934},
			Lanes: []connector.LaneStatus{
				{Partition: 0, Committed: -1, End: 12, InFlight: 1},
				{Partition: 1, Committed: 11, End: 15, Waiting: 3, Stuck: &connector.Stuck{Offset: 11, Why: "its account"}},
			},
		},
	}
}

func TestTable(t *testing.T) {
	want := `
Countersign demo   seed 7   3.2s   sending
  requests     [######..............] 64 of 200 sent, 60 answered
  results      succeeded 41  rejected 14  expired 3
  dead letters 5
  API          50 calls, 21 challenges made, 2 in flight, p50 41ms, p99 93ms
  breaker      open, opened 1 times; 6 retries, paused for 300ms by the API
  phones       9 approved, 4 denied, 1 ignored
  plugin       process 4242, running, 0 restarts
  partition           0        1
    answered         25       35
    end              12       15
    committed         0       11
    in flight         1        0
    waiting           0        3
  held back    partition 1 at 11, waiting for its account`
	if got := strings.Join(table(testProgress()), "\n"); got != want {
		t.Errorf("table:\n%s\nwant:\n%s", got, want)
	}
}

// TestTableIsRedrawnInPlace replays the table's output on a small terminal:
// notes stand above, and one table below, whatever the width.
func TestTableIsRedrawnInPlace(t *testing.T) {
	for _, width := range []int{30, 200} {
		var out bytes.Buffer
		v := &tableView{out: &out, width: func() int { return width }}
		p := testProgress()
		v.show([]string{"first note"}, nil, false)
		v.show(nil, p, false)
		v.show([]string{"second note"}, p, false)
		p.Phase, p.Status.Lanes = "done", nil // fewer lines than before
		v.show(nil, p, false)
		screen := render(t, out.String())
		var want []string
		for _, line := range table(p) {
			want = append(want, cut(line, width-1))
		}
		want = append([]string{"first note", "second note"}, want...)
		if got := strings.Join(screen, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("width %d:\n%s\nwant:\n%s", width, got, strings.Join(want, "\n"))
		}
	}
}

// render is a terminal that knows what the table uses.
func render(t *testing.T, text string) []string {
	t.Helper()
	var lines []string
	row := 0
	line := ""
	for len(text) > 0 {
		var up int
		switch {
		case strings.HasPrefix(text, eraseLine):
			text = text[len(eraseLine):]
		case strings.HasPrefix(text, eraseScreen):
			lines, text = lines[:min(row, len(lines))], text[len(eraseScreen):]
		case strings.HasPrefix(text, "\x1b["):
			if _, err := fmt.Sscanf(text, "\x1b[%dA", &up); err != nil || up > row {
				t.Fatalf("unknown control sequence, or above the top: %q", text[:8])
			}
			row, text = row-up, text[strings.Index(text, "A\r")+2:]
		case text[0] == '\n':
			lines = append(lines[:row], append([]string{line}, lines[min(row+1, len(lines)):]...)...)
			row, line, text = row+1, "", text[1:]
		default:
			line, text = line+text[:1], text[1:]
		}
	}
	return lines
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	v := &lineView{out: &out}
	p := testProgress()
	v.show([]string{"broker up"}, nil, false)
	v.show(nil, p, false)
	p.Elapsed += 400 * time.Millisecond
	p.Sent++
	v.show([]string{"at once"}, p, false) // too early for a line
	p.Elapsed += 600 * time.Millisecond
	v.show(nil, p, false)
	p.Elapsed += 2 * time.Second
	v.show(nil, p, false) // nothing is new
	p.Elapsed += 3 * time.Second
	v.show(nil, p, false) // still nothing, but for long
	p.Elapsed, p.Phase = p.Elapsed+time.Millisecond, "done"
	v.show(nil, p, true) // nothing follows
	want := `broker up
  3.2s  sending: sent 64/200 answered 60 | succeeded 41  rejected 14  expired 3 | dead letters 5 | calls 50 creates 21 in flight 2 | breaker open retries 6 | p50 41ms p99 93ms
at once
  4.2s  sending: sent 65/200 answered 60 | succeeded 41  rejected 14  expired 3 | dead letters 5 | calls 50 creates 21 in flight 2 | breaker open retries 6 | p50 41ms p99 93ms
  9.2s  sending: sent 65/200 answered 60 | succeeded 41  rejected 14  expired 3 | dead letters 5 | calls 50 creates 21 in flight 2 | breaker open retries 6 | p50 41ms p99 93ms
  9.2s  done: sent 65/200 answered 60 | succeeded 41  rejected 14  expired 3 | dead letters 5 | calls 50 creates 21 in flight 2 | breaker open retries 6 | p50 41ms p99 93ms
`
	if out.String() != want {
		t.Errorf("lines:\n%s\nwant:\n%s", out.String(), want)
	}
}

// recorder is a view that remembers.
type recorder struct {
	notes  []string
	frames int
	last   *progress
	ended  bool
}

func (r *recorder) show(notes []string, p *progress, last bool) {
	r.notes = append(r.notes, notes...)
	r.frames++
	r.last, r.ended = p, last
}

func TestScreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, p := &recorder{}, (*progress)(nil)
		s := newScreen(r, func() *progress { return p })
		s.note("one %d", 1)
		s.logger().Info("not shown")
		s.logger().Warn("shown", "account", "demo")
		<-time.After(3*frame + time.Millisecond)
		synctest.Wait()
		if r.frames != 3 || r.last != nil || r.ended {
			t.Errorf("%d frames, last %v", r.frames, r.last)
		}
		p = testProgress()
		s.note("last")
		s.close()
		if r.last != p || r.frames != 4 || !r.ended {
			t.Errorf("the last state is not shown: %d frames", r.frames)
		}
		want := []string{"one 1", `level=WARN msg=shown account=demo`, "last"}
		if strings.Join(r.notes, "\n") != strings.Join(want, "\n") {
			t.Errorf("notes %q, want %q", r.notes, want)
		}
	})
}

func TestScreenLoggerLevel(t *testing.T) {
	s := newScreen(&recorder{}, func() *progress { return nil })
	defer s.close()
	if s.logger().Enabled(t.Context(), slog.LevelInfo) {
		t.Error("info is asked of the plugin though nobody sees it")
	}
}
