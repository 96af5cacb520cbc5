package connector

import (
	"reflect"
	"slices"
	"strings"
)

// keyHint says which key an unknown one is probably meant to be: another
// spelling or a slip of a sibling's name, or a key that belongs elsewhere. It
// ends a sentence, and is empty where nothing is near.
func keyHint(key string, siblings []string) string {
	if near := nearestName(key, siblings); near != "" {
		return ", did you mean " + near + "?"
	}
	for _, leaf := range configLeaves(configType, nil) {
		for i, step := range leaf.path {
			if squashName(step) == squashName(key) && step != anyName {
				return ", did you mean " + strings.ReplaceAll(leaf.path[:i+1].String(), anyName, "<name>") + "?"
			}
		}
	}
	return ""
}

// nearestName returns the candidate that a slip of the finger away name is, or
// nothing. Two spellings of the same letters (authToken, auth-token) are one.
func nearestName(name string, candidates []string) string {
	const longest = 80 // beyond it nobody mistyped a key
	best, fewest := "", 0
	for _, candidate := range candidates {
		a, b := squashName(name), squashName(candidate)
		if len(a) > longest {
			return ""
		}
		if n := editDistance(a, b); n <= allowedEdits(len(b)) && (best == "" || n < fewest) {
			best, fewest = candidate, n
		}
	}
	return best
}

// allowedEdits is how far from a name of that length a slip may lead: not so far
// that one key is taken for another.
func allowedEdits(length int) int {
	switch {
	case length < 4:
		return 0
	case length < 8:
		return 1
	case length < 16:
		return 2
	default:
		return 3
	}
}

// squashName leaves a name's lower-case letters and digits.
func squashName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == '.' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToLower(name))
}

// editDistance counts the letters to insert, drop or replace between a and b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// describeType says what a value of type t is written as.
func describeType(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a duration with its unit, as in 250ms or 5m"
	case t == secretType, t.Kind() == reflect.String:
		return "a text"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case slices.Contains([]reflect.Kind{reflect.Int, reflect.Int64}, t.Kind()):
		return "a whole number"
	case t.Kind() == reflect.Float64:
		return "a number"
	case t.Kind() == reflect.Slice:
		return "a list"
	default:
		return "a mapping of keys to values"
	}
}
