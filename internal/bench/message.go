// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/binary"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mansiomq/mansio/internal/rocketmq"
	v2 "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// BodyMin is the size of the ledger's part of a body.
const BodyMin = 40

// magic begins the body of every message of the ledger.
const magic = "mbench1\n"

// mark says which message of which run this is.
type mark struct {
	run      uint64
	producer uint32
	seq      uint64
	sent     time.Time
}

// put writes the mark into a body of at least BodyMin bytes.
func (m mark) put(body []byte) {
	copy(body, magic)
	binary.LittleEndian.PutUint64(body[8:], m.run)
	binary.LittleEndian.PutUint32(body[16:], m.producer)
	binary.LittleEndian.PutUint32(body[20:], 0)
	binary.LittleEndian.PutUint64(body[24:], m.seq)
	binary.LittleEndian.PutUint64(body[32:], uint64(m.sent.UnixNano()))
}

// markOf reads the mark of a body; false when it has none.
func markOf(body []byte) (m mark, ok bool) {
	if len(body) < BodyMin || string(body[:8]) != magic {
		return mark{}, false
	}
	return mark{
		run:      binary.LittleEndian.Uint64(body[8:]),
		producer: binary.LittleEndian.Uint32(body[16:]),
		seq:      binary.LittleEndian.Uint64(body[24:]),
		sent:     time.Unix(0, int64(binary.LittleEndian.Uint64(body[32:]))), //nolint:gosec // two's complement is the format
	}, true
}

// newMessage makes a message as an SDK would.
func newMessage(topic string, body []byte) *v2.Message {
	tag := "bench"
	return &v2.Message{
		Topic: rocketmq.Resource(topic),
		Body:  body,
		SystemProperties: &v2.SystemProperties{
			Tag: &tag, MessageId: rocketmq.MessageID(), MessageType: v2.MessageType_NORMAL, BodyEncoding: v2.Encoding_IDENTITY,
			BornTimestamp: timestamppb.Now(), BornHost: "bench",
		},
	}
}

// filler is a body of n bytes that does not compress to nothing.
func filler(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + i*7%26)
	}
	return b
}
