// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mansiomq/mansio/internal/message"
)

// copyMax is the size of a payload's rest up to which a delivery is one copied
// buffer from grpc's pool; above, the rest is sent from where it lies. A copy of
// that size is cheaper than the buffers' bookkeeping.
const copyMax = 16 << 10

const fieldResponseMessage protowire.Number = 2 // of ReceiveMessageResponse

// Delivery is what a message gains when it is handed out. Zero fields of the
// second group are left out.
type Delivery struct {
	Topic     []byte // TopicField of the topic as the client named it
	StoreMS   int64
	StoreHost string
	Queue     int32
	Offset    int64

	Handle  []byte
	Attempt int32
}

// TopicField returns field 1 of a Message: the topic's name in its namespace.
func TopicField(namespace, name string) []byte {
	var resource []byte
	if namespace != "" {
		resource = appendBytes(resource, fieldNamespace, namespace)
	}
	if name != "" {
		resource = appendBytes(resource, fieldName, name)
	}
	return appendBytes(nil, fieldTopic, resource)
}

// Delivered returns the ReceiveMessageResponse that delivers p. The frame may
// share p's memory.
func Delivered(p message.Payload, d *Delivery) *Frame {
	var scratch [256]byte
	tail, sys, rest := d.appendFields(scratch[:0]), p.Sys(), p.Rest()
	sysSize := len(sys) + len(tail)
	size := len(d.Topic) + len(rest) + protowire.SizeTag(fieldSystem) + protowire.SizeBytes(sysSize)
	outer := protowire.SizeTag(fieldResponseMessage) + protowire.SizeVarint(uint64(size)) //nolint:gosec // a length
	if len(rest) <= copyMax {
		pool := mem.DefaultBufferPool()
		buf := pool.Get(outer + size)
		*buf = AppendMessage(appendLength((*buf)[:0], fieldResponseMessage, size), p, d)
		return &Frame{data: mem.BufferSlice{mem.NewBuffer(buf, pool)}}
	}
	b := make([]byte, 0, outer+size-len(rest))
	b = appendLength(b, fieldResponseMessage, size)
	b = append(b, d.Topic...)
	cut := len(b)
	b = appendLength(b, fieldSystem, sysSize)
	b = append(b, sys...)
	b = append(b, tail...)
	return &Frame{data: mem.BufferSlice{mem.SliceBuffer(b[:cut:cut]), mem.SliceBuffer(rest), mem.SliceBuffer(b[cut:])}}
}

// AppendMessage appends the encoded Message that d makes of p.
func AppendMessage(dst []byte, p message.Payload, d *Delivery) []byte {
	var scratch [256]byte
	tail, sys := d.appendFields(scratch[:0]), p.Sys()
	dst = append(dst, d.Topic...)
	dst = append(dst, p.Rest()...)
	dst = appendLength(dst, fieldSystem, len(sys)+len(tail))
	dst = append(dst, sys...)
	return append(dst, tail...)
}

func (d *Delivery) appendFields(b []byte) []byte {
	b = appendTime(b, sysStored, Time{Set: true, Seconds: d.StoreMS / 1000, Nanos: int32(d.StoreMS%1000) * 1_000_000})
	b = appendBytes(b, sysStoreHost, d.StoreHost)
	if len(d.Handle) > 0 {
		b = appendBytes(b, sysHandle, d.Handle)
	}
	if d.Queue != 0 {
		b = appendVarint(b, sysQueue, uint64(int64(d.Queue))) //nolint:gosec // as protobuf encodes int32
	}
	b = appendVarint(b, sysOffset, uint64(d.Offset)) //nolint:gosec // as protobuf encodes int64
	if d.Attempt != 0 {
		b = appendVarint(b, sysAttempt, uint64(int64(d.Attempt))) //nolint:gosec // as protobuf encodes int32
	}
	return b
}

func appendLength(b []byte, num protowire.Number, size int) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(size)) //nolint:gosec // a length
}
