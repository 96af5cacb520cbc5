package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadEvents(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		want       []string // where and text
	}{
		"lines":             {"a.jsonl", "{\"a\":1}\n\n  {\"a\":2}\r\n{\"a\":3}", []string{"a.jsonl:1 {\"a\":1}", "a.jsonl:3 {\"a\":2}", "a.jsonl:4 {\"a\":3}"}},
		"one document":      {"a.jsonl", "{\n \"a\": 1\n}\n", []string{"a.jsonl {\n \"a\": 1\n}"}},
		"a broken document": {"a.txt", "{\n \"a\": 1,\n}\n", []string{"a.txt {\n \"a\": 1,\n}"}},
		"by its name":       {"a.json", "{\"a\":\n1,}\n", []string{"a.json {\"a\":\n1,}"}},
		"one line":          {"a.json", "{\"a\":1}\n", []string{"a.json:1 {\"a\":1}"}},
		"not JSON":          {"a.txt", "hello\n{\"a\":1}\n", []string{"a.txt:1 hello", "a.txt:2 {\"a\":1}"}},
		"empty":             {"a.json", "\n \n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), c.file)
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			fromFile, err := readEvents(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range fromFile {
				got = append(got, strings.TrimPrefix(e.where, filepath.Dir(path)+"/")+" "+string(e.data))
			}
			if strings.Join(got, "|") != strings.Join(c.want, "|") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestReadEventsFromStdin(t *testing.T) {
	events, err := readEvents("-", strings.NewReader("{}\n[]\n"))
	if err != nil || len(events) != 2 || events[1].where != "stdin:2" {
		t.Errorf("%v, %v", events, err)
	}
	if _, err := readEvents(filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("a file that does not exist is read")
	}
}
