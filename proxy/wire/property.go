// SPDX-License-Identifier: Apache-2.0

package wire

import "google.golang.org/protobuf/encoding/protowire"

// UserProperty finds a user property in an encoded Message; empty: it has none of
// that key, or cannot be decoded. Like a decoder it takes the last of several.
func UserProperty(message []byte, key string) (value string) {
	var m Message
	err := fields(message, func(num protowire.Number, typ protowire.Type, entry, _ []byte) error {
		if num != fieldProperties || typ != protowire.BytesType {
			return nil
		}
		m.Properties = m.Properties[:0]
		err := m.property(entry)
		if p := m.Properties[0]; string(p.Key) == key {
			value = string(p.Value)
		}
		return err
	})
	if err != nil {
		return ""
	}
	return value
}
