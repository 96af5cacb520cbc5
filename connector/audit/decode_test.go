package audit

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/countersign/countersign/schemas"
)

var reportSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	data, _ := schemas.JSONSchema("audit")
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("audit", doc); err != nil {
		return nil, err
	}
	return c.Compile("audit")
})

func bySchema(t testing.TB, data []byte) error {
	t.Helper()
	schema, err := reportSchema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return schema.Validate(doc)
}

func goldenReport(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "report-"+name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSchemaTakesGoldenReports(t *testing.T) {
	for name := range goldenReports {
		if err := bySchema(t, goldenReport(t, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each change of a good report is refused with the field's name, and the schema
// refuses it too unless it says otherwise.
func TestDecodeRefuses(t *testing.T) {
	good := string(goldenReport(t, "troubled"))
	for _, c := range []struct {
		old, with, says string
		schemaTakes     bool
	}{
		{`"version": "1.0"`, `"version": "2.0"`, "another major version", false},
		{`"version": "1.0"`, `"version": 1`, "version must be a text", false},
		{`"version": "1.0"`, `"Version": "1.0"`, "version must be a text", false},
		{`"tool": "v1.4.0"`, `"Tool": "v1.4.0"`, "tool is missing", false},
		{`"tool": "v1.4.0"`, `"tool": null`, "tool must be a text", false},
		{`"tool": "v1.4.0"`, `"tool": "a", "tool": "b"`, `has "tool" twice`, true},
		{`"closed": false`, `"closed": 0`, "window.closed must be true or false", false},
		{`"closed": false`, `"closed": true`, "window.closed is true beside 2 findings", true},
		{`"open_window": 2`, `"open_window": 0`, "counts.findings.open_window is below", true},
		{`"gone": [`, `"x": [`, "window.gone is missing", false},
		{`"not_ended": true,`, ``, "window.not_ended is missing", false},
		{`"from": 18100`, `"from": 18201`, "window.gone[0].to is below", true},
		{`"worked_off": [`, `"worked_off": null, "x": [`, "window.worked_off must be a list", false},
		{`"records": 4077`, `"records": -1`, "window.records must be a whole number", false},
		{`"records": 4077`, `"records": 1.5`, "window.records must be a whole number", false},
		{`"records": 4077`, `"records": 9223372036854775808`, "window.records must be a whole number", false},
		{`"records": 4077`, `"records": "4380"`, "window.records must be a whole number", false},
		{`"not_after": 300`, `"not_after": -1`, "window.not_after must be", false},
		{`"not_after": 300`, `"not_after": 1e300`, "window.not_after must be", false},
		{`"from": "2026-03-04T09:00:00Z"`, `"from": "2026-03-04 09:00"`, "window.from must be a time", false},
		{`"partition": 1`, `"partition": 0`, "window.requests[1].partition must be above", true},
		{`"from": 18200`, `"from": 99999`, "window.requests[0].to is below", true},
		{`"algorithm": "countersign`, `"algorithm": "else`, "covered.algorithm", false},
		{`"root": "`, `"root": "00`, "covered.root: a hash has 64 hexadecimal digits", false},
		{`"records": 1460`, `"records": 0`, "covered.trees[0].records must be above 0", false},
		{`"records": 1460`, `"records": 2000`, "covered.trees[0].last leaves no room", true},
		{`"block": 32`, `"block": 33`, "covered.trees[0].block must be a power", true},
		{`"block": 32`, `"block": 64`, "covered.trees[0].blocks must be", true},
		{`"orphan": 3`, `"orphans": 3`, "counts.findings.orphans is no kind", false},
		{`"orphan": 3`, `"_": 3`, "counts.findings._ is no kind", false},
		{`"orphan": 3,`, ``, "counts.findings.orphan is missing", false},
		{`"orphan": 3`, `"orphan": 2`, "counts.findings.orphan is below", true},
		{`"kind": "missing"`, `"kind": "lost"`, `findings[0].kind "lost"`, false},
		{`"detail": "no_answer"`, `"detail": "retention"`, `findings[0].detail "retention"`, false},
		{`"operation": "create"`, `"operation": "delete"`, `findings[0].request.operation "delete"`, false},
		{`"width": 64`, `"width": 0`, "series.buckets need", true},
		{`"findings": [`, `"findings": null, "x": [`, "findings must be a list", false},
		{`"request": {`, `"request": null, "x": {`, "findings[0].request must be an object", false},
	} {
		bad := strings.Replace(good, c.old, c.with, 1)
		if bad == good {
			t.Errorf("the report has no %s", c.old)
			continue
		}
		_, err := Decode([]byte(bad))
		if CodeOf(err) != CodeInvalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s", c.with, err, c.says)
		}
		if err := bySchema(t, []byte(bad)); (err == nil) != c.schemaTakes {
			t.Errorf("%s: the schema says %v", c.with, err)
		}
	}
	for _, bad := range []string{"", "null", "[]", "{}", good[:len(good)/2], good + "{}"} {
		if _, err := Decode([]byte(bad)); CodeOf(err) != CodeInvalid {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func TestDecodeIgnoresWhatIsNewer(t *testing.T) {
	good := string(goldenReport(t, "clean"))
	newer := strings.Replace(good, `"version": "1.0"`, `"version": "1.7", "news": {"a": [1, {"b": null}]}, "TOOL": 4`, 1)
	newer = strings.Replace(newer, `"closed": true`, `"closed": true, "since": [[]]`, 1)
	r, err := Decode([]byte(newer))
	if err != nil {
		t.Fatal(err)
	}
	if r.Version != "1.7" || r.Tool != "v1.4.0" || !r.Window.Closed {
		t.Errorf("%+v", r.Window)
	}
}

// A number of seconds is the nanoseconds that were written, and no neighbour.
func TestDurationsComeBack(t *testing.T) {
	for _, d := range []time.Duration{0, 1, 290 * time.Millisecond, 1001 * time.Millisecond, 123456789012345, 90 * 24 * time.Hour, 29*time.Hour + 7} {
		data, err := Duration(d).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := secondsOf(string(data)); !ok || got != d {
			t.Errorf("%d is %s is %d", d, data, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":"1.0"}`))
	f.Add([]byte(`{"version":"1.0","tool":"` + "\u202e\x1b" + `"}`))
	// Small ones: the fuzzer would spend its time on making the golden ones smaller.
	for _, report := range goldenReports {
		r := report()
		r.Series.Buckets, r.Window.Requests = r.Series.Buckets[28:30], r.Window.Requests[:1]
		r.Covered.Trees = []Tree{grownTree("t", 0, 4, 3)}
		if len(r.Findings) > 0 {
			r.Findings = []Finding{r.Findings[0], r.Findings[4], r.Findings[len(r.Findings)-4]}
		}
		data, err := r.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decode(data)
		if err != nil {
			if CodeOf(err) != CodeInvalid {
				t.Fatal(err)
			}
			return
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatalf("read, but not written: %v", err)
		}
		if err := bySchema(t, again); err != nil {
			t.Fatalf("the schema refuses it: %v", err)
		}
		back, err := Decode(again)
		if err != nil {
			t.Fatalf("written, but not read: %v", err)
		}
		if third, err := back.Encode(); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("other bytes at the second time: %v", err)
		}
		checkText(t, text(t, r))
		_ = pageOf(t, r)
	})
}
