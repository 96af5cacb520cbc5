package clients

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/twilio/twilio-go/client"
)

// difference is one that is meant, in each of the calls.
type difference struct {
	part         string
	theirs, ours string
	calls        []string
	where        string // the calls in words; empty: their names
	reason       string
}

// Calls that share a difference. A list of two pages is two requests.
var (
	firstPages = []string{"list, every filter", "list, no filter", "list, limit 3", "list, follow-up page (request 1)", "list, page by token"}
	reads      = append([]string{"fetch"}, firstPages...)
	posts      = []string{
		"create push, full", "create push, minimal", "create totp", "create, hidden details as text",
		"update with AuthPayload", "update with Metadata", "update with nothing",
	}
	everyCall = slices.Concat(posts, reads, []string{"list, follow-up page (request 2)"})
)

var differences = []difference{
	{
		part: "request", calls: []string{"create, identity with a slash"},
		theirs: "POST /v2/Services/" + service + "/Entities/user/0001/Challenges", ours: "refused before anything is sent",
		reason: "twilio-go puts names into the path as they are, so that a name with a slash, a question mark or a dot segment calls " +
			"another resource. Ours escapes each, and refuses what the API's patterns exclude.",
	},
	{
		part: "form ExpirationDate", calls: []string{"create push, full"},
		theirs: "2026-03-04T06:30:00+01:00", ours: "2026-03-04T05:30:00Z",
		reason: "The same moment. Some parsers of this parameter drop an offset; twilio-node turns it into UTC too.",
	},
	{
		part: "form HiddenDetails", calls: []string{"create, hidden details as text"},
		theirs: `"{\"ip\":\"10.0.0.1\"}"`, ours: `{"ip":"10.0.0.1"}`,
		reason: "twilio-go encodes a text once more, to a quoted text, which is not the JSON object that the documents ask for. Ours " +
			"takes a map, so that there is no text to be quoted.",
	},
	{
		part: "form HiddenDetails", calls: []string{"create push, full"},
		theirs: `{"ip":"10.0.0.1","note":"a \u0026 b"}`, ours: `{"ip":"10.0.0.1","note":"a & b"}`,
		reason: "The same JSON. Go's escapes for HTML cost five characters each of the 1,024 that the API counts.",
	},
	{
		part: "form Details.Fields", calls: []string{"create push, full"},
		theirs: `{"label":"Where","value":"Zürich \u003cHB\u003e"}` + "\n" + `{"label":"When","value":"now"}`,
		ours:   `{"label":"Where","value":"Zürich <HB>"}` + "\n" + `{"label":"When","value":"now"}`,
		reason: "The same JSON, as above; the same repeated key, in the same order.",
	},
	{
		part: "query PageSize", calls: []string{"list, no filter"},
		theirs: "50", ours: absent,
		reason: "50 is the API's default. What the caller did not choose is left to the API.",
	},
	{
		part: "query PageToken", calls: []string{"list, page by token"},
		theirs: "DN1a", ours: dottedToken,
		reason: "twilio-go deletes a dot and the digits behind it from the whole query of a first page, to turn keys of arrays into " +
			"repeated ones; a value with a dot is spoilt by it. No value of the API's form has one today.",
	},
	{
		part: "header Content-Type", calls: reads, where: "every GET but of a follow-up page",
		theirs: "application/x-www-form-urlencoded", ours: absent,
		reason: "A GET has no body whose type could be told.",
	},
	{
		part: "header Accept", calls: everyCall, where: "every call",
		theirs: absent, ours: "application/json",
		reason: "The documents name it, and twilio-node and twilio-python send it.",
	},
	{
		part: "header User-Agent", calls: everyCall, where: "every call",
		theirs: "twilio-go", ours: "countersign",
		reason: "Each says who it is; compared without the version.",
	},
}

var update = flag.Bool("update", false, "write docs/wire-parity.md anew")

// TestWireParityDocument: the document is the table.
func TestWireParityDocument(t *testing.T) {
	const path = "../../docs/wire-parity.md"
	want := document()
	if *update {
		must(t, os.WriteFile(path, []byte(want), 0o644))
	}
	got, err := os.ReadFile(path)
	must(t, err)
	if string(got) != want {
		t.Errorf("%s is not what the table says: go test ./integration/clients -run WireParityDocument -args -update", path)
	}
}

func document() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Wire parity

For the same calls, our client (connector/challenge) sends what twilio-go %s sends: method, path, query, form and headers,
whatever their order. `+"`TestWireParity`"+` records both and compares them. It fails at a difference that is not listed here, and at
one that is listed and no longer there. This document is written from the test's table
(`+"`go test ./integration/clients -run WireParityDocument -args -update`"+`).

## Differences that are meant

`, client.LibraryVersion)
	for _, d := range differences {
		where := d.where
		if where == "" {
			where = strings.Join(d.calls, "; ")
		}
		fmt.Fprintf(&b, "### %s: %s\n\n- twilio-go: %s\n- ours: %s\n\n%s\n\n", d.part, where, shown(d.theirs), shown(d.ours), d.reason)
	}
	b.WriteString("## The calls that are compared\n\n| call | what both clients are given |\n| --- | --- |\n")
	for _, c := range wireCalls {
		fmt.Fprintf(&b, "| %s | %s |\n", c.name, c.about)
	}
	return b.String()
}

// shown is a value as code, and what stands for none as it is.
func shown(value string) string {
	if value == absent {
		return "nothing"
	}
	return "`" + strings.ReplaceAll(value, "\n", "`, `") + "`"
}
