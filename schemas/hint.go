package schemas

import (
	"slices"
	"strconv"
	"strings"
)

// maxHints is how many places a hint names.
const maxHints = 3

// longestName is the longest name that is worth a guess.
const longestName = 48

// triedNames is among how many members of an object a missing field is looked
// for, so that an event of nothing but unknown names costs no more than another.
const triedNames = 32

// hint says which field an unknown name probably means. Two spellings of the
// same letters mean the same (FactorSid, factorSID, factor-sid); so does the
// API's dotted form (Details.Message). After that it looks for the name where it
// belongs elsewhere in the event, and last for a slip of the finger.
func (o *object) hint(name string) string {
	if len(name) > longestName || len(o.d.warnings) == MaxFaults {
		return ""
	}
	if near := o.shape.nearest(name); near != "" {
		return didYouMean(near)
	}
	if inside := o.shape.places(squash(name), ""); len(inside) > 0 {
		return didYouMean(inside...)
	}
	return didYouMean(o.d.root.places(squash(name), "$.")...)
}

// misspelling says, for a missing field, which unknown one is probably meant to
// be it.
func (o *object) misspelling(name string) string {
	if len(o.d.faults) == MaxFaults {
		return ""
	}
	i := o.d.nodes[o.node].first
	for tried := 0; i != 0 && tried < triedNames; tried++ {
		m := &o.d.nodes[i]
		i = m.next
		got := string(o.d.memberName(m))
		if m.name == 0 && len(got) <= longestName && o.shape.index([]byte(got)) < 0 && o.shape.nearest(got) == name {
			return "; is it the one written as " + strconv.Quote(got) + "?"
		}
	}
	return ""
}

func didYouMean(places ...string) string {
	switch len(places) {
	case 0:
		return ""
	case 1:
		return "; did you mean " + places[0] + "?"
	default:
		places = places[:min(len(places), maxHints)]
		last := len(places) - 1
		return "; did you mean " + strings.Join(places[:last], ", ") + " or " + places[last] + "?"
	}
}

// nearest returns the shape's own field that name is another spelling of, or
// failing that the closest one, or an empty text.
func (s *shape) nearest(name string) string {
	squashed := squash(name)
	best, bestSlips := "", 0
	for _, field := range s.names {
		if squash(field) == squashed {
			return field
		}
		allowed := allowedSlips(len(field))
		if d := len(squashed) - len(squash(field)); d > allowed || -d > allowed {
			continue
		}
		if n := slips(squashed, squash(field)); n <= allowed && (best == "" || n < bestSlips) {
			best, bestSlips = field, n
		}
	}
	return best
}

// allowedSlips is how many single changes may lie between a name and a field of
// the given length: few enough that two fields are not taken for each other.
func allowedSlips(length int) int {
	switch {
	case length < 4:
		return 0
	case length < 8:
		return 1
	default:
		return 2
	}
}

// places returns the paths, below s, of fields that are spelled like squashed,
// alone or together with what they are in.
func (s *shape) places(squashed, prefix string) (found []string) {
	for _, field := range s.names {
		path := prefix + field
		if squash(field) == squashed || squash(path) == squashed {
			found = append(found, path)
		}
		if inner := s.inner[field]; inner != nil {
			found = append(found, inner.places(squashed, path+".")...)
		}
	}
	return found
}

// squash reduces a name to its letters and digits, in lower case.
func squash(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		default:
			return -1
		}
	}, name)
}

// slips counts the letters to insert, leave out, replace or swap with their
// neighbour to get from a to b (optimal string alignment).
func slips(a, b string) int {
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = slices.Min([]int{last[j+1] + 1, row[j] + 1, last[j] + cost})
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
