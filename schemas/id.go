package schemas

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// resultIDLength is how many hexadecimal digits a result id has: 128 bits.
const resultIDLength = 32

// ResultID is the id of the result that a consumer group makes of the request
// record at c, and of that result's page (0 for all but a split list). The same
// record always gives the same id, so a result that is made again, after a crash
// or in a replay, is recognised.
//
// The group is part of it because two groups that process one topic, say one for
// production and one for a rehearsal, each make a result of their own. The
// record's timestamp is not: the id can be made from a bare position, such as
// the one that the ledger or a commit keeps.
func ResultID(group string, c Coordinates, page int) string {
	b := make([]byte, 0, 128)
	b = append(b, "countersign result 1"...)
	b = appendSized(b, group)
	b = appendSized(b, c.Topic)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Partition))
	b = binary.BigEndian.AppendUint64(b, uint64(c.Offset))
	b = binary.BigEndian.AppendUint64(b, uint64(page))
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:resultIDLength/2])
}

// mostPages of a list are looked for by MadeBy. Each is near the largest record that
// a broker takes, so no connector holds as many.
const mostPages = 4096

// MadeBy reports whether a result has the id that a consumer group makes of its
// request and its page, and which page that is. A page that the broker refuses for its
// size is published as a failure of ClassTooLarge that keeps the id and has no page, so
// of such a list any page's id will do, up to the 4,096th.
func (r *Result) MadeBy(group string) (page int, made bool) {
	first, pages := 0, 1
	if r.Page != nil {
		first = r.Page.Index
	} else if r.Operation == OperationList && r.Error != nil && r.Error.Class == ClassTooLarge {
		pages = mostPages
	}
	for page = first; page < first+pages; page++ {
		if r.ID == ResultID(group, r.Request, page) {
			return page, true
		}
	}
	return 0, false
}

// appendSized writes a text behind its length, so that no two lists of texts
// look alike.
func appendSized(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}
