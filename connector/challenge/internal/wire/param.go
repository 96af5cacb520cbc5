package wire

// SID reports whether s is a SID with the given two-letter prefix: the prefix
// and 32 hexadecimal digits of either case.
func SID(prefix, s string) bool {
	if len(s) != 34 || s[:2] != prefix {
		return false
	}
	for i := 2; i < len(s); i++ {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// Identity reports whether s can name an entity: 8 to 64 ASCII letters and
// digits in groups that single dashes separate.
func Identity(s string) bool {
	if len(s) < 8 || len(s) > 64 {
		return false
	}
	dash := true // a group must begin here
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			dash = false
		case c == '-' && !dash:
			dash = true
		default:
			return false
		}
	}
	return !dash
}
