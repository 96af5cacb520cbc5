package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// inputHelp describes what readEvents takes.
const inputHelp = `A file holds one event a line (JSON lines), or one event alone, over as many
lines as it likes. - is stdin. Empty lines are skipped.`

// event is one event of an input, as it is written there.
type event struct {
	where string // file and line, for messages
	data  []byte
}

// readEvents reads a file, or stdin for "-". It does not judge: what is no JSON
// is an event too, for whoever checks it to say so.
func readEvents(name string, stdin io.Reader) ([]event, error) {
	data, err := readInput(name, stdin)
	if err != nil {
		return nil, err
	}
	if name == "-" {
		name = "stdin"
	}
	if isOneEvent(name, data) {
		return []event{{where: name, data: bytes.TrimSpace(data)}}, nil
	}
	var events []event
	line := 0
	for text := range bytes.Lines(data) {
		line++
		if text = bytes.TrimSpace(text); len(text) > 0 {
			events = append(events, event{where: fmt.Sprintf("%s:%d", name, line), data: text})
		}
	}
	return events, nil
}

func readInput(name string, stdin io.Reader) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(name)
}

// isOneEvent tells a document from lines. Where neither reads as JSON, the name
// decides, and then whether the first line could stand alone.
func isOneEvent(name string, data []byte) bool {
	data = bytes.TrimSpace(data)
	first, _, several := bytes.Cut(data, []byte("\n"))
	switch {
	case len(data) == 0 || !several:
		return false
	case json.Valid(data) || strings.EqualFold(filepath.Ext(name), ".json"):
		return true
	default:
		first = bytes.TrimSpace(first)
		return string(first) == "{" || string(first) == "["
	}
}
