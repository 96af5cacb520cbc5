package main

import (
	"strings"
	"unicode"
)

// printable keeps what strangers wrote (an id, an error message of the API)
// from moving the cursor or breaking the line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}
