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

// appendSized writes a text behind its length, so that no two lists of texts
// look alike.
func appendSized(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}
