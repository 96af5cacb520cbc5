package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the golden files anew")

// ours lists the root and every command that is not cobra's own.
func ours() []*cobra.Command {
	root := rootCommand()
	all := []*cobra.Command{root}
	for _, cmd := range root.Commands() {
		if cmd.Name() != "help" && cmd.Name() != "completion" {
			all = append(all, cmd)
		}
	}
	return all
}

// words are the command line below the root.
func words(cmd *cobra.Command) []string { return strings.Fields(cmd.CommandPath())[1:] }

func TestHelpIsGolden(t *testing.T) {
	for _, cmd := range ours() {
		t.Run(cmd.Name(), func(t *testing.T) {
			e := cli(t, "", append(words(cmd), "--help")...).want(t, exitOK)
			path := filepath.Join("testdata", "help", strings.Join(strings.Fields(cmd.CommandPath()), "-")+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(e.out), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if e.out != string(want) || e.err != "" {
				t.Errorf("%s is not what --help prints (go test ./cmd/countersign -run Golden -update writes it):\n%s", path, e.out)
			}
		})
	}
}

func TestHelpTeaches(t *testing.T) {
	for _, cmd := range ours() {
		if cmd.Short == "" || cmd.Long == "" || cmd.Example == "" || !strings.Contains(cmd.Long, "Exit codes") {
			t.Errorf("%s lacks a part of its help", cmd.CommandPath())
		}
		for line := range strings.Lines(cmd.Long + "\n" + cmd.Example) {
			if len([]rune(line)) > 90 {
				t.Errorf("%s: too wide: %s", cmd.CommandPath(), line)
			}
		}
	}
}

// Every example is a command line that cobra takes: the commands and the flags
// exist and their values are of the right kind.
func TestExamplesParse(t *testing.T) {
	parsed := 0
	for _, cmd := range ours() {
		for _, line := range exampleLines(cmd.Example) {
			root := rootCommand()
			target, rest, err := root.Find(line)
			if err != nil || target == root {
				t.Errorf("%s: %q: no such command: %v", cmd.Name(), line, err)
				continue
			}
			if err := target.ParseFlags(rest); err != nil {
				t.Errorf("%s: %q: %v", cmd.Name(), line, err)
				continue
			}
			if err := target.ValidateArgs(target.Flags().Args()); err != nil {
				t.Errorf("%s: %q: %v", cmd.Name(), line, err)
			}
			parsed++
		}
	}
	if parsed < 20 {
		t.Errorf("only %d examples were found", parsed)
	}
}

// exampleLines are the calls of countersign in a text of shell lines, without
// the program's name, redirections, comments and assignments.
func exampleLines(text string) [][]string {
	var calls [][]string
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		fields := shellWords(line)
		for len(fields) > 0 {
			end := 0
			for end < len(fields) && fields[end] != "|" {
				end++
			}
			call := fields[:end]
			fields = fields[min(end+1, len(fields)):]
			for len(call) > 0 && strings.Contains(call[0], "=") {
				call = call[1:]
			}
			for i, word := range call {
				if word == ">" || word == "#" {
					call = call[:i]
					break
				}
			}
			if len(call) > 0 && call[0] == "countersign" {
				calls = append(calls, call[1:])
			}
		}
	}
	return calls
}

// shellWords splits a line at blanks outside of double quotes.
func shellWords(line string) []string {
	var all []string
	var word strings.Builder
	quoted, begun := false, false
	for _, r := range strings.TrimSpace(line) + " " {
		switch {
		case r == '"':
			quoted, begun = !quoted, true
		case (r == ' ' || r == '\t') && !quoted:
			if begun {
				all = append(all, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	return all
}

func TestRoot(t *testing.T) {
	if e := cli(t, "").want(t, exitOK); !strings.Contains(e.out, "Available Commands:") || strings.Contains(e.out, "  plugin ") {
		t.Errorf("%s", e.out)
	}
	if e := cli(t, "", "rnu").want(t, exitUsage); e.err != "countersign: there is no command \"rnu\"; did you mean run?\nRun 'countersign --help' for usage.\n" {
		t.Errorf("%q", e.err)
	}
	if e := cli(t, "", "--nonsense").want(t, exitUsage); !strings.Contains(e.err, "--nonsense") {
		t.Errorf("%q", e.err)
	}
	if e := cli(t, "", "help", "plugin").want(t, exitOK); !strings.Contains(e.out, "go-plugin") {
		t.Errorf("%q", e.out)
	}
}
