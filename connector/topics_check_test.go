package connector

import (
	"strings"
	"testing"
	"time"
)

func TestTopicSettings(t *testing.T) {
	const requests, results, ledger, positions = 0, 1, 3, 4
	cfg := Config{Ledger: LedgerConfig{Horizon: 2 * time.Hour}}.WithDefaults()
	for _, c := range []struct {
		name     string
		role     int
		settings map[string]string
		want     string // in the fault; empty: none
	}{
		{"nothing known", ledger, nil, ""},
		{"requests deleted", requests, map[string]string{"cleanup.policy": "delete"}, ""},
		{"requests compacted", requests, map[string]string{"cleanup.policy": "compact"}, `topic challenge.requests has cleanup.policy="compact", want "delete"`},
		{"requests compacted too", requests, map[string]string{"cleanup.policy": "delete, compact"}, `want "delete"`},
		{"results compacted", results, map[string]string{"cleanup.policy": "compact,delete"}, `want "delete"`},
		{"ledger as made", ledger, map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "14400000", "retention.bytes": "-1"}, ""},
		{"ledger for ever", ledger, map[string]string{"cleanup.policy": "compact", "retention.ms": "1"}, ""},
		{"ledger without end", ledger, map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "-1"}, ""},
		{"ledger at the horizon", ledger, map[string]string{"cleanup.policy": "delete,compact", "retention.ms": "7200000"}, ""},
		{"ledger below the horizon", ledger, map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "7199999"}, `retention.ms="7199999", want at least 7200000`},
		{"ledger by size", ledger, map[string]string{"cleanup.policy": "compact,delete", "retention.bytes": "1000000"}, `retention.bytes="1000000", want -1`},
		{"ledger not compacted", ledger, map[string]string{"cleanup.policy": "delete"}, `want "compact,delete"`},
		{"positions as made", positions, map[string]string{"cleanup.policy": "compact"}, ""},
		{"positions deleted too", positions, map[string]string{"cleanup.policy": "compact,delete"}, `cleanup.policy="compact,delete", want "compact"`},
		{"positions deleted", positions, map[string]string{"cleanup.policy": "delete"}, `want "compact"`},
		{"positions too narrow", positions, map[string]string{"max.message.bytes": "4096"}, `max.message.bytes="4096", want at least 16384`},
		{"positions in small segments", positions, map[string]string{"max.message.bytes": "1048588", "segment.bytes": "14"}, `segment.bytes="14"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			faults := cfg.topicRoles()[c.role].faults(c.settings)
			switch {
			case c.want == "" && len(faults) > 0:
				t.Errorf("found %v", faults)
			case c.want != "" && (len(faults) != 1 || !strings.Contains(faults[0].String(), c.want)):
				t.Errorf("found %v, want %s", faults, c.want)
			}
		})
	}
	for setting, want := range map[string]bool{"1048588": false, "1048576": false, "1000000": true} {
		if n, found := cfg.topicRoles()[results].notice(map[string]string{"max.message.bytes": setting}); found != want {
			t.Errorf("max.message.bytes=%s: %v", setting, n)
		}
	}
}
