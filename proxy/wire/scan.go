// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

var (
	errMalformed = errors.New("wire: not a protobuf message")
	errText      = errors.New("wire: a text is not UTF-8")
)

// fields calls visit for each field of an encoded message: its number, its type,
// its value (for BytesType without the length), and the whole field.
func fields(b []byte, visit func(num protowire.Number, typ protowire.Type, value, whole []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMalformed
		}
		size := protowire.ConsumeFieldValue(num, typ, b[n:])
		if size < 0 {
			return errMalformed
		}
		whole := b[:n+size]
		value := whole[n:]
		if typ == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(value)
		}
		if err := visit(num, typ, value, whole); err != nil {
			return err
		}
		b = b[n+size:]
	}
	return nil
}

// Messages calls visit with the bytes of each message of an encoded
// SendMessageRequest, in order.
func Messages(request []byte, visit func(message []byte) error) error {
	return fields(request, func(num protowire.Number, typ protowire.Type, value, _ []byte) error {
		if num == fieldMessages && typ == protowire.BytesType {
			return visit(value)
		}
		return nil
	})
}

// Scan takes an encoded Message apart. It accepts what a protobuf decoder
// accepts, and like one it lets the last of a repeated single value win. What m
// held before is forgotten; its slices are used again.
func (m *Message) Scan(b []byte) error {
	*m = Message{
		Size:       len(b),
		Properties: m.Properties[:0], Keys: m.Keys[:0],
		rest: m.rest[:0], unknownSys: m.unknownSys[:0], sys: m.sys[:0],
	}
	return fields(b, m.field)
}

func (m *Message) field(num protowire.Number, typ protowire.Type, value, whole []byte) error {
	if typ == protowire.BytesType {
		switch num {
		case fieldTopic:
			return fields(value, m.topicField)
		case fieldSystem:
			return fields(value, m.sysField)
		case fieldBody:
			m.Body = value
			return nil
		case fieldProperties:
			m.keepRest(whole)
			return m.property(value)
		}
	}
	if num != fieldTopic && num != fieldSystem {
		m.keepRest(whole)
	}
	return nil
}

// keepRest remembers a field that is stored as it came, joined to the run before
// it if they touch.
func (m *Message) keepRest(field []byte) {
	if n := len(m.rest); n > 0 {
		last := m.rest[n-1]
		if end := len(last); cap(last) > end && &last[:end+1][end] == &field[0] {
			m.rest[n-1] = last[:end+len(field)]
			return
		}
	}
	m.rest = append(m.rest, field)
}

func (m *Message) topicField(num protowire.Number, typ protowire.Type, value, _ []byte) error {
	if typ != protowire.BytesType {
		return nil
	}
	switch num {
	case fieldNamespace:
		return text(&m.Namespace, value)
	case fieldName:
		return text(&m.Topic, value)
	}
	return nil
}

func (m *Message) property(entry []byte) error {
	var p Property
	err := fields(entry, func(num protowire.Number, typ protowire.Type, value, _ []byte) error {
		switch {
		case typ != protowire.BytesType:
			return nil
		case num == fieldKey:
			return text(&p.Key, value)
		case num == fieldValue:
			return text(&p.Value, value)
		}
		return nil
	})
	m.PropertyCount++
	if len(m.Properties) < PropertiesKept {
		m.Properties = append(m.Properties, p)
	}
	return err
}

func (m *Message) sysField(num protowire.Number, typ protowire.Type, value, whole []byte) error {
	switch {
	case num > sysKnown:
		m.unknownSys = append(m.unknownSys, whole)
		return nil
	case typ == protowire.BytesType:
		return m.sysBytes(num, value)
	case typ == protowire.VarintType:
		v, _ := protowire.ConsumeVarint(value)
		switch num {
		case sysEncoding:
			m.Encoding = pb.Encoding(int32(v)) //nolint:gosec // as protobuf decodes enums
		case sysType:
			m.Declared = pb.MessageType(int32(v)) //nolint:gosec // as protobuf decodes enums
		case sysPriority:
			m.Priority, m.Ranked = int32(v), true //nolint:gosec // as protobuf decodes int32
		}
	}
	return nil
}

func (m *Message) sysBytes(num protowire.Number, value []byte) error {
	switch num {
	case sysTag:
		return optional(&m.Tag, value)
	case sysKeys:
		m.KeyCount++
		var key []byte
		err := text(&key, value)
		if len(m.Keys) < KeysKept {
			m.Keys = append(m.Keys, key)
		}
		return err
	case sysID:
		return text(&m.ID, value)
	case sysBorn:
		return moment(&m.Born, value)
	case sysBornHost:
		return text(&m.BornHost, value)
	case sysDeliver:
		return moment(&m.Deliver, value)
	case sysGroup:
		return optional(&m.Group, value)
	case sysTrace:
		return optional(&m.Trace, value)
	case sysOrphan:
		return moment(&m.Orphan, value)
	case sysLite:
		return optional(&m.LiteTopic, value)
	}
	return nil
}

func text(to *[]byte, value []byte) error {
	if !utf8.Valid(value) {
		return errText
	}
	*to = value
	return nil
}

func optional(to *Text, value []byte) error {
	to.Set = true
	return text(&to.Bytes, value)
}

func moment(to *Time, value []byte) error {
	to.Set = true
	err := fields(value, func(num protowire.Number, typ protowire.Type, value, _ []byte) error {
		if typ != protowire.VarintType {
			return nil
		}
		v, _ := protowire.ConsumeVarint(value)
		switch num {
		case fieldSeconds:
			to.Seconds = int64(v) //nolint:gosec // as protobuf decodes int64
		case fieldNanos:
			to.Nanos = int32(v) //nolint:gosec // as protobuf decodes int32
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("time: %w", err)
	}
	return nil
}
