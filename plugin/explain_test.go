package plugin

import (
	"strings"
	"testing"
)

// TestExplainNamesACommandThatWorks: the plugin binary is loaded by its path,
// the command that is its own plugin is not.
func TestExplainNamesACommandThatWorks(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"./countersign-plugin"}, "countersign host --config FILE --plugin ./countersign-plugin --sha256 DIGEST\n"},
		{[]string{"./countersign", "plugin"}, "countersign host --config FILE\n"},
	} {
		var said strings.Builder
		explain(&said, tc.args)
		if !strings.Contains(said.String(), tc.want) {
			t.Errorf("%q: no %q in %q", tc.args, tc.want, said.String())
		}
	}
}
