package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// kept is a handler that keeps its records.
type kept struct {
	mu      sync.Mutex
	records []slog.Record
}

func (k *kept) Enabled(context.Context, slog.Level) bool { return true }
func (k *kept) Handle(_ context.Context, r slog.Record) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.records = append(k.records, r)
	return nil
}
func (k *kept) WithAttrs([]slog.Attr) slog.Handler { return k }
func (k *kept) WithGroup(string) slog.Handler      { return k }

func attrs(r slog.Record) map[string]any {
	out := map[string]any{}
	r.Attrs(func(a slog.Attr) bool {
		out[a.Key] = a.Value.Any()
		return true
	})
	return out
}

func readBack(t *testing.T, text string) []slog.Record {
	t.Helper()
	k := new(kept)
	(&lineLogger{log: slog.New(k)}).of(7).read(t.Context(), strings.NewReader(text), "stderr")
	return k.records
}

// What the plugin logs is what the host logs.
func TestLogRoundTrip(t *testing.T) {
	var line bytes.Buffer
	log := slog.New(newLogHandler(&line, slog.LevelDebug-4))
	for _, level := range []slog.Level{slog.LevelDebug - 4, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		line.Reset()
		before := time.Now().Truncate(time.Microsecond)
		log.Log(t.Context(), level, "hello", "n", 12345678901, "g", slog.GroupValue(slog.String("@message", "deep")), "@message", 1, "@level", "x")
		got := readBack(t, line.String())
		if len(got) != 1 {
			t.Fatalf("%d records of %s", len(got), line.String())
		}
		r := got[0]
		if r.Message != "hello" || r.Level != level || r.Time.Before(before) || r.Time.After(time.Now()) {
			t.Errorf("%+v", r)
		}
		a := attrs(r)
		if a["n"] != json.Number("12345678901") || a["at_message"] != json.Number("1") || a["at_level"] != "x" || a["g"] == nil {
			t.Errorf("%+v", a)
		}
	}
	// hclog's own reader wants texts under its keys, whatever was logged.
	var fields map[string]any
	if err := json.Unmarshal(line.Bytes(), &fields); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{keyMessage, keyLevel, keyTimestamp} {
		if _, ok := fields[key].(string); !ok {
			t.Errorf("%s is %v", key, fields[key])
		}
	}
}

// Whatever is no line of ours is one warning with the line in it.
func TestForeignLines(t *testing.T) {
	for _, line := range []string{
		`{"@message":1}`, `{"@message":null}`, `{"@level":"info"}`, `[]`, `null`, `"@message"`,
		`{"@message":"x"} trailing`, `{"@message":"x"`, "panic: oh no", "\x00\xff", `{"@message":{"a":[`,
	} {
		got := readBack(t, line+"\n")
		if len(got) != 1 || got[0].Level != slog.LevelWarn || attrs(got[0])["line"] != line || attrs(got[0])["stream"] != "stderr" {
			t.Errorf("%q became %+v", line, got)
		}
	}
	for _, line := range []string{`{"@message":"x","@level":5,"@timestamp":7}`, `{"@message":"x","@timestamp":"yesterday"}`} {
		if got := readBack(t, line); len(got) != 1 || got[0].Message != "x" || got[0].Level != slog.LevelInfo {
			t.Errorf("%q became %+v", line, got)
		}
	}
}

// Lines of any length come out whole or cut, and never run into each other.
func TestLineLengths(t *testing.T) {
	for _, n := range []int{0, 1, maxLine - 1, maxLine, maxLine + 1, 3*maxLine + 5} {
		got := readBack(t, strings.Repeat("a", n)+"\r\nnext\n\n\nlast")
		if n == 0 {
			got = append([]slog.Record{{}}, got...)
		} else if line := attrs(got[0])["line"].(string); len(line) != min(n, maxLine) {
			t.Errorf("%d bytes: kept %d", n, len(line))
		}
		if len(got) != 3 || attrs(got[1])["line"] != "next" || attrs(got[2])["line"] != "last" {
			t.Errorf("%d bytes: %d records", n, len(got))
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte(`{"@message":1}`))
	f.Add([]byte(`{"@message":"x","@level":"warn","@timestamp":"2026-01-02T03:04:05.000006Z","k":{"a":[1]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		k := new(kept)
		(&lineLogger{log: slog.New(slog.NewTextHandler(io.Discard, nil))}).read( //nolint:sloglint // it formats before it discards
			t.Context(), bytes.NewReader(data), "x")
		(&lineLogger{log: slog.New(k)}).read(t.Context(), bytes.NewReader(data), "x")
		if lines := bytes.Count(data, []byte("\n")) + 1; len(k.records) > lines {
			t.Errorf("%d records of %d lines", len(k.records), lines)
		}
	})
}

// A reader that does not read delays nobody; what was dropped is said later.
func TestLogPumpNeverBlocks(t *testing.T) {
	r, w := io.Pipe()
	p := newLogPump(w)
	const more = 10
	for range pumpLines + 1 + more { // one may be in the writer's hands
		if n, err := p.Write([]byte("line\n")); n != 5 || err != nil {
			t.Fatal(n, err)
		}
	}
	all := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		all <- string(b)
	}()
	p.close(patience)
	_ = w.Close()
	text := within(t, all, "the end of the pipe")
	if lines := strings.Count(text, "line\n"); lines < pumpLines || lines > pumpLines+1 {
		t.Errorf("%d lines came through", lines)
	}
	if !strings.Contains(text, `"@message":"log lines dropped","lines":1`) {
		t.Error("dropped lines are not reported")
	}
	if _, err := p.Write([]byte("late\n")); err != nil {
		t.Error(err)
	}
	p.close(patience)

	// A reader that never reads is left after the budget.
	r, w = io.Pipe()
	p = newLogPump(w)
	_, _ = p.Write([]byte("line\n"))
	p.close(time.Millisecond)
	_ = r.Close()
	<-p.done
}

// The plugin logs what the host wants to see.
func TestLevels(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		log := slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: level})) //nolint:sloglint // it has a level
		if got := levelOf(levelWanted(t.Context(), log)); got != level {
			t.Errorf("%s became %s", level, got)
		}
	}
	if levelOf("") != slog.LevelInfo || levelOf("loud") != slog.LevelInfo {
		t.Error("the default is not info")
	}
}
