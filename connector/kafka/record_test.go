package kafka

import (
	"testing"

	"github.com/countersign/countersign/schemas"
)

func TestSizeCountsEveryPart(t *testing.T) {
	headers := []schemas.Header{{Key: "abc", Value: []byte("de")}, {Key: "f"}}
	r := Record{Topic: "not counted", Key: []byte("1234"), Value: []byte("56789"), Headers: headers}
	m := Message{Topic: "not counted", Key: []byte("1234"), Value: []byte("56789"), Headers: headers}
	empty := Record{}
	const parts = 4 + 5 + 3 + 2 + 1
	if r.Size()-empty.Size() != parts || m.Size() != r.Size() {
		t.Errorf("record %d, message %d, empty %d", r.Size(), m.Size(), empty.Size())
	}
	if empty.Size() == 0 {
		t.Error("a record without content takes no room")
	}
}
