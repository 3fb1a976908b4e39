// SPDX-License-Identifier: Apache-2.0

package message

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mansiomq/mansio/internal/ident"
)

// Field numbers of apache.rocketmq.v2.SystemProperties that the store looks at.
const (
	FieldTag             protowire.Number = 1
	FieldKeys            protowire.Number = 2
	FieldMessageID       protowire.Number = 3
	FieldDeadLetterQueue protowire.Number = 20
)

// Texts returns the values of the string field num in encoded system
// properties, sharing their memory. Bytes that are no protobuf end the search.
func Texts(sys []byte, num protowire.Number) (values [][]byte) {
	for len(sys) > 0 {
		n, typ, size := protowire.ConsumeTag(sys)
		if size < 0 {
			return values
		}
		sys = sys[size:]
		size = protowire.ConsumeFieldValue(n, typ, sys)
		if size < 0 {
			return values
		}
		if n == num && typ == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(sys)
			values = append(values, v)
		}
		sys = sys[size:]
	}
	return values
}

// Text returns the last value of the string field num, as protobuf decoders
// choose it, and whether there is one.
func Text(sys []byte, num protowire.Number) (string, bool) {
	v := Texts(sys, num)
	if len(v) == 0 {
		return "", false
	}
	return string(v[len(v)-1]), true
}

// DeadCopy returns a payload that holds p's message for a dead-letter topic: its
// place is (head's Topic, Queue), its system properties gain the field
// dead_letter_queue {topic, message_id} that names the origin.
func DeadCopy(p Payload, topic ident.Topic, queue ident.Queue, originTopic string) Payload {
	id, _ := Text(p.Sys(), FieldMessageID)
	var origin []byte
	origin = protowire.AppendTag(origin, 1, protowire.BytesType)
	origin = protowire.AppendString(origin, originTopic)
	origin = protowire.AppendTag(origin, 2, protowire.BytesType)
	origin = protowire.AppendString(origin, id)
	sys := append([]byte(nil), p.Sys()...)
	sys = protowire.AppendTag(sys, FieldDeadLetterQueue, protowire.BytesType)
	sys = protowire.AppendBytes(sys, origin)
	h := p.Head()
	h.Topic, h.Queue, h.Proxy, h.Seq = topic, queue, 0, 0
	return Append(nil, &h, sys, p.Rest())
}
