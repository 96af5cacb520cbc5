package plugin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// maxLine bounds what is kept of one line of a plugin's output.
const maxLine = 64 << 10

// lineLogger logs what a plugin prints, line by line. A line of newLogHandler
// or of hclog keeps its level, time, message and attributes; anything else is
// logged whole, as a warning. No line is trusted: whatever it holds, it becomes
// one record. It is safe for concurrent use.
type lineLogger struct {
	log *slog.Logger
}

// of returns a lineLogger whose records carry the process id.
func (l *lineLogger) of(pid int) *lineLogger {
	return &lineLogger{log: l.log.With("plugin_pid", pid)}
}

// read logs every line of r until it ends. What goes beyond maxLine is cut off.
func (l *lineLogger) read(ctx context.Context, r io.Reader, stream string) {
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		cut := 0
		kept := bytes.TrimRight(line, "\r\n")
		if errors.Is(err, bufio.ErrBufferFull) {
			kept = bytes.Clone(kept)
			cut, err = discardLine(in)
		}
		if len(kept) > 0 {
			l.line(ctx, kept, stream, cut)
		}
		if err != nil {
			return
		}
	}
}

// discardLine skips the rest of a line and counts it.
func discardLine(in *bufio.Reader) (n int, err error) {
	for {
		part, err := in.ReadSlice('\n')
		n += len(part)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return n, err
		}
	}
}

func (l *lineLogger) line(ctx context.Context, line []byte, stream string, cut int) {
	record, ok := parseLine(line)
	if !ok {
		record = slog.NewRecord(time.Now(), slog.LevelWarn, "plugin output", 0)
		record.AddAttrs(slog.String("stream", stream), slog.String("line", string(line)))
	}
	if cut > 0 {
		record.AddAttrs(slog.Int("bytes_cut", cut))
	}
	if l.log.Enabled(ctx, record.Level) {
		_ = l.log.Handler().Handle(ctx, record)
	}
}

// parseLine reads a line with hclog's keys. ok is false where it has no message
// that is a text, or is no JSON object.
func parseLine(line []byte) (record slog.Record, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	var fields map[string]any
	if err := dec.Decode(&fields); err != nil || dec.InputOffset() != int64(len(line)) {
		return slog.Record{}, false
	}
	message, ok := fields[keyMessage].(string)
	if !ok {
		return slog.Record{}, false
	}
	at := time.Now()
	if text, ok := fields[keyTimestamp].(string); ok {
		if t, err := time.Parse(timeLayout, text); err == nil {
			at = t
		}
	}
	level, _ := fields[keyLevel].(string)
	record = slog.NewRecord(at, slogLevel(level), message, 0)
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		switch key {
		case keyMessage, keyLevel, keyTimestamp:
		default:
			record.AddAttrs(slog.Any(key, fields[key]))
		}
	}
	return record, true
}

// slogLevel takes hclog's names; any other is info.
func slogLevel(name string) slog.Level {
	switch name {
	case "trace":
		return slog.LevelDebug - 4
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}
