package schemas

import (
	"errors"
	"fmt"
)

// The digits of the hashes that Countersign keeps.
const (
	hashLength      = 32 // 128 bits
	shortHashLength = 16 // 64 bits
)

var (
	hashRule      = hexDigits(hashLength)
	shortHashRule = hexDigits(shortHashLength)
)

// hexDigits allows exactly n lower-case hexadecimal digits.
func hexDigits(n int) rule {
	message := fmt.Sprintf("must have %d lower-case hexadecimal digits", n)
	return func(s string) string {
		ok := len(s) == n
		for i := 0; ok && i < len(s); i++ {
			ok = isDigit(s[i]) || 'a' <= s[i] && s[i] <= 'f'
		}
		if ok {
			return ""
		}
		return message
	}
}

// decodeOwn reads a record of Countersign's own memory: read takes the fields,
// version gets theirs. Such a record has no id, so no fault is of CodeNoID.
func decodeOwn(data []byte, s *shape, read func(o *object), version func(v string)) error {
	d, refused := newDecoder(data, s)
	if refused != nil {
		return refused
	}
	defer d.release()
	o, ok := d.open(0, s)
	if ok {
		v := ""
		if err := o.version(&v, "", ""); err != nil {
			return err
		}
		read(&o)
		version(v)
	}
	err := d.verdict("", "")
	if refused, ok := errors.AsType[*DecodeError](err); ok {
		refused.Code = CodeInvalid
	}
	return err
}

// encoded is what an Encode returns that refuses what its Decode refused.
func encoded(data []byte, err error) ([]byte, error) {
	if refused, ok := errors.AsType[*DecodeError](err); ok {
		return nil, &EncodeError{Code: refused.Code, Faults: refused.Faults}
	}
	return data, nil
}
