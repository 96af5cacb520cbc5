package schemas_test

import (
	"testing"

	"github.com/countersign/countersign/schemas"
)

// The id is part of the contract: a result made today must be recognised by
// tomorrow's release.
func TestResultIDIsFixed(t *testing.T) {
	at := schemas.Coordinates{Topic: "challenge.requests", Partition: 3, Offset: 41, Timestamp: record}
	const want = "1faeac479e0118684f1ecfc297b2b741"
	if got := schemas.ResultID("countersign", at, 0); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	at.Timestamp = record.AddDate(1, 0, 0)
	if got := schemas.ResultID("countersign", at, 0); got != want {
		t.Errorf("the timestamp counts: %s", got)
	}
}

func TestResultIDTellsRecordsApart(t *testing.T) {
	seen := make(map[string]string)
	note := func(what, id string) {
		if len(id) != 32 {
			t.Errorf("%s: %s", what, id)
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s have one id", what, other)
		}
		seen[id] = what
	}
	at := func(topic string, partition int, offset int64) schemas.Coordinates {
		return schemas.Coordinates{Topic: topic, Partition: partition, Offset: offset}
	}
	note("first", schemas.ResultID("group", at("topic", 1, 1), 0))
	note("page", schemas.ResultID("group", at("topic", 1, 1), 1))
	note("offset", schemas.ResultID("group", at("topic", 1, 2), 0))
	note("partition", schemas.ResultID("group", at("topic", 2, 1), 0))
	note("topic", schemas.ResultID("group", at("topic2", 1, 1), 0))
	note("group", schemas.ResultID("group2", at("topic", 1, 1), 0))
	note("shifted letters", schemas.ResultID("groupt", at("opic", 1, 1), 0))
	note("swapped", schemas.ResultID("topic", at("group", 1, 1), 0))
	note("large", schemas.ResultID("group", at("topic", 1, 1<<40), 0))
}

// A result is the group's by the id of its own page; only a list that was too large
// may have that of any.
func TestMadeBy(t *testing.T) {
	at := schemas.Coordinates{Topic: "challenge.requests", Partition: 3, Offset: 41}
	tooLarge := &schemas.Error{Class: schemas.ClassTooLarge}
	for name, c := range map[string]struct {
		of     string // group
		page   int    // whose id it is
		result schemas.Result
		want   bool
	}{
		"plain":                      {"countersign", 0, schemas.Result{Operation: schemas.OperationCreate}, true},
		"another group's":            {"rehearsal", 0, schemas.Result{Operation: schemas.OperationCreate}, false},
		"a page":                     {"countersign", 2, schemas.Result{Operation: schemas.OperationList, Page: &schemas.Page{Index: 2}}, true},
		"another page's":             {"countersign", 1, schemas.Result{Operation: schemas.OperationList, Page: &schemas.Page{Index: 2}}, false},
		"a page's without it":        {"countersign", 1, schemas.Result{Operation: schemas.OperationList}, false},
		"a list too large":           {"countersign", 4095, schemas.Result{Operation: schemas.OperationList, Error: tooLarge}, true},
		"a list beyond any":          {"countersign", 4096, schemas.Result{Operation: schemas.OperationList, Error: tooLarge}, false},
		"too large, no list":         {"countersign", 1, schemas.Result{Operation: schemas.OperationFetch, Error: tooLarge}, false},
		"too large, another page's":  {"countersign", 1, schemas.Result{Operation: schemas.OperationList, Error: tooLarge, Page: &schemas.Page{Index: 2}}, false},
		"too large, another group's": {"rehearsal", 1, schemas.Result{Operation: schemas.OperationList, Error: tooLarge}, false},
	} {
		c.result.Request, c.result.ID = at, schemas.ResultID(c.of, at, c.page)
		if page, got := c.result.MadeBy("countersign"); got != c.want || got && page != c.page {
			t.Errorf("%s: %t, page %d", name, got, page)
		}
	}
}
