package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestLogger(t *testing.T) {
	for name, c := range map[string]struct {
		flags         logFlags
		level, format string // of the environment
		want          string // of a debug and an info line; empty: refused
	}{
		"defaults":            {want: "level=INFO msg=two\n"},
		"flags":               {flags: logFlags{level: "debug", format: "json"}, want: `"msg":"one"}` + "\n" + `"msg":"two"}` + "\n"},
		"environment":         {level: "debug", format: "json", want: `"msg":"one"}` + "\n"},
		"flags win":           {flags: logFlags{level: "info", format: "text"}, level: "error", format: "json", want: "msg=two\n"},
		"level":               {flags: logFlags{level: "verbose"}},
		"format":              {flags: logFlags{format: "xml"}},
		"environment's fault": {level: "verbose"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("COUNTERSIGN_LOG_LEVEL", c.level)
			t.Setenv("COUNTERSIGN_LOG_FORMAT", c.format)
			var out bytes.Buffer
			log, err := c.flags.logger(&out)
			if c.want == "" {
				if err == nil {
					t.Error("it is taken")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			log.Debug("one")
			log.Info("two")
			got := strings.Split(out.String(), "\n")
			for i, line := range strings.Split(c.want, "\n") {
				if i >= len(got) || !strings.HasSuffix(got[i], line) {
					t.Errorf("got %q, want %q", out.String(), c.want)
				}
			}
		})
	}
}
