// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/md5" //nolint:gosec // the digest that clients check; nothing depends on its strength

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// Stamp is what the proxy adds to a message that it sends on.
type Stamp struct {
	Topic    ident.Topic
	Queue    ident.Queue
	NowMS    int64  // born_timestamp of a message without one
	BornHost string // born_host of a message without one
	Trace    string // trace_context of a message without one; empty: none
}

// Payload returns the message in its stored form, in memory of its own. The
// proxy's incarnation and sequence number are left 0.
func (m *Message) Payload(s *Stamp) message.Payload {
	bornMS, genuine := m.Born.Millis()
	if !genuine {
		bornMS = s.NowMS
		m.Born = Time{Set: true, Seconds: bornMS / 1000, Nanos: int32(bornMS%1000) * 1_000_000}
	}
	h := message.Head{Topic: s.Topic, Queue: s.Queue, IDHash: hash64(m.ID), BornMS: bornMS}
	if m.Tag.Set && len(m.Tag.Bytes) > 0 {
		h.TagHash = uint32(hash64(m.Tag.Bytes)) //nolint:gosec // the low half is meant
	}
	if m.Group.Set {
		h.GroupHash = hash64(m.Group.Bytes)
	}
	var hashes [16]uint32
	h.KeyHashes = hashes[:0]
	for _, key := range m.Keys {
		if len(key) > 0 {
			h.KeyHashes = append(h.KeyHashes, uint32(hash64(key))) //nolint:gosec // the low half is meant
		}
	}
	m.sys = m.appendSys(m.sys[:0], s)
	size := message.Size(&h, m.sys, nil)
	for _, run := range m.rest {
		size += len(run)
	}
	size += protowire.SizeTag(fieldBody) + protowire.SizeBytes(len(m.Body))
	p := []byte(message.Append(make([]byte, 0, size), &h, m.sys, nil))
	for _, run := range m.rest {
		p = append(p, run...)
	}
	p = protowire.AppendTag(p, fieldBody, protowire.BytesType)
	return protowire.AppendBytes(p, m.Body)
}

// appendSys appends the client's system properties, in the order of their numbers.
func (m *Message) appendSys(b []byte, s *Stamp) []byte {
	b = appendText(b, sysTag, m.Tag)
	for _, key := range m.Keys {
		b = appendBytes(b, sysKeys, key)
	}
	b = appendBytes(b, sysID, m.ID)
	b = appendDigest(b, m.Body)
	encoding := m.Encoding
	if encoding == pb.Encoding_ENCODING_UNSPECIFIED {
		encoding = pb.Encoding_IDENTITY
	}
	b = appendVarint(b, sysEncoding, uint64(int64(encoding)))
	b = appendVarint(b, sysType, uint64(m.Type())) //nolint:gosec // a known type
	b = appendTime(b, sysBorn, m.Born)
	if len(m.BornHost) > 0 {
		b = appendBytes(b, sysBornHost, m.BornHost)
	} else if s.BornHost != "" {
		b = appendBytes(b, sysBornHost, s.BornHost)
	}
	b = appendTime(b, sysDeliver, m.Deliver)
	b = appendText(b, sysGroup, m.Group)
	switch {
	case m.Trace.Set:
		b = appendText(b, sysTrace, m.Trace)
	case s.Trace != "":
		b = appendBytes(b, sysTrace, s.Trace)
	}
	b = appendTime(b, sysOrphan, m.Orphan)
	b = appendText(b, sysLite, m.LiteTopic)
	if m.Ranked {
		b = appendVarint(b, sysPriority, uint64(int64(m.Priority))) //nolint:gosec // as protobuf encodes int32
	}
	for _, field := range m.unknownSys {
		b = append(b, field...)
	}
	return b
}

const upperHex = "0123456789ABCDEF"

func appendDigest(b, body []byte) []byte {
	sum := md5.Sum(body) //nolint:gosec // see the import
	b = protowire.AppendTag(b, sysDigest, protowire.BytesType)
	b = append(b, 2+2+2*md5.Size)
	b = protowire.AppendTag(b, 1, protowire.VarintType)
	b = append(b, byte(pb.DigestType_MD5))
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = append(b, 2*md5.Size)
	for _, c := range sum {
		b = append(b, upperHex[c>>4], upperHex[c&15])
	}
	return b
}

func appendText(b []byte, num protowire.Number, t Text) []byte {
	if !t.Set {
		return b
	}
	return appendBytes(b, num, t.Bytes)
}

func appendBytes[S string | []byte](b []byte, num protowire.Number, value S) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(value)))
	return append(b, value...)
}

func appendVarint(b []byte, num protowire.Number, value uint64) []byte {
	b = protowire.AppendTag(b, num, protowire.VarintType)
	return protowire.AppendVarint(b, value)
}

func appendTime(b []byte, num protowire.Number, t Time) []byte {
	if !t.Set {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	at := len(b)
	b = append(b, 0) // at most 2 + 20 + 2 bytes follow
	if t.Seconds != 0 {
		b = appendVarint(b, fieldSeconds, uint64(t.Seconds)) //nolint:gosec // as protobuf encodes int64
	}
	if t.Nanos != 0 {
		b = appendVarint(b, fieldNanos, uint64(int64(t.Nanos))) //nolint:gosec // as protobuf encodes int32
	}
	b[at] = byte(len(b) - at - 1) //nolint:gosec // see above
	return b
}
