// SPDX-License-Identifier: Apache-2.0

package logdump

import (
	"encoding/json"
	"fmt"
	"strings"
)

// field is a name and its value: a number, a string, a bool, fields, or a list
// of fields.
type field struct {
	name  string
	value any
}

// fields keep their order, in both forms.
type fields []field

// MarshalJSON writes an object with the fields in order.
func (f fields) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, x := range f {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := json.Marshal(x.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(x.value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}

func (f fields) String() string {
	var b strings.Builder
	for i, x := range f {
		if i > 0 {
			b.WriteByte(' ')
		}
		switch v := x.value.(type) {
		case string:
			fmt.Fprintf(&b, "%s=%s", x.name, quoted(v))
		case fields:
			fmt.Fprintf(&b, "%s={%s}", x.name, v)
		case []fields:
			fmt.Fprintf(&b, "%s=[", x.name)
			for j, y := range v {
				if j > 0 {
					b.WriteByte(' ')
				}
				fmt.Fprintf(&b, "{%s}", y)
			}
			b.WriteByte(']')
		default:
			fmt.Fprintf(&b, "%s=%v", x.name, v)
		}
	}
	return b.String()
}

// quoted quotes a text unless it is one plain word.
func quoted(s string) string {
	plain := func(r rune) bool {
		return r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return fmt.Sprintf("%q", s)
}

func hash64(v uint64) string { return fmt.Sprintf("%016x", v) }

func hash32(v uint32) string { return fmt.Sprintf("%08x", v) }
