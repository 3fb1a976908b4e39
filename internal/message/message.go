// SPDX-License-Identifier: Apache-2.0

package message

import (
	"encoding/binary"
	"fmt"

	"github.com/mansiomq/mansio/internal/ident"
)

const (
	headSize   = 66 // without the key hashes
	offQueue   = 8
	offProxy   = 16
	offSeq     = 24
	offIDHash  = 32
	offBorn    = 40
	offTagHash = 48
	offSysLen  = 52
	offGroup   = 56
	offKeys    = 64
)

// Head is what the store knows of a message.
type Head struct {
	Topic     ident.Topic
	Queue     ident.Queue
	Proxy     uint64
	Seq       uint64
	IDHash    uint64
	BornMS    int64
	TagHash   uint32
	GroupHash uint64
	KeyHashes []uint32
}

// Payload is a whole message in its byte form. Only Parse proves it sound; the
// accessors assume a sound one.
type Payload []byte

// Append appends a payload made of its three parts to dst.
func Append(dst []byte, h *Head, sys, rest []byte) Payload {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(h.Topic))
	dst = le.AppendUint64(dst, uint64(h.Queue))
	dst = le.AppendUint64(dst, h.Proxy)
	dst = le.AppendUint64(dst, h.Seq)
	dst = le.AppendUint64(dst, h.IDHash)
	dst = le.AppendUint64(dst, uint64(h.BornMS)) //nolint:gosec // two's complement is the format
	dst = le.AppendUint32(dst, h.TagHash)
	dst = le.AppendUint32(dst, uint32(len(sys))) //nolint:gosec // the proxy limits it
	dst = le.AppendUint64(dst, h.GroupHash)
	dst = le.AppendUint16(dst, uint16(len(h.KeyHashes))) //nolint:gosec // the proxy limits it
	for _, k := range h.KeyHashes {
		dst = le.AppendUint32(dst, k)
	}
	dst = append(dst, sys...)
	return append(dst, rest...)
}

// Size is the number of bytes that Append appends.
func Size(h *Head, sys, rest []byte) int {
	return headSize + 4*len(h.KeyHashes) + len(sys) + len(rest)
}

// Parse checks that b is long enough for what its head claims. It keeps b.
func Parse(b []byte) (Payload, error) {
	if len(b) < headSize {
		return nil, fmt.Errorf("message: %d bytes, a head has %d", len(b), headSize)
	}
	p := Payload(b)
	if need := uint64(p.sysStart()) + //nolint:gosec // not negative
		uint64(binary.LittleEndian.Uint32(p[offSysLen:])); uint64(len(b)) < need {
		return nil, fmt.Errorf("message: %d bytes, its head claims at least %d", len(b), need)
	}
	return p, nil
}

func (p Payload) u64(off int) uint64 { return binary.LittleEndian.Uint64(p[off:]) }

// Topic is the topic's incarnation.
func (p Payload) Topic() ident.Topic { return ident.Topic(p.u64(0)) }

// Queue is the queue inside the topic.
func (p Payload) Queue() ident.Queue { return ident.Queue(p.u64(offQueue)) }

// Proxy is the incarnation of the proxy that sent the message.
func (p Payload) Proxy() uint64 { return p.u64(offProxy) }

// Seq is the proxy's sequence number on the shard.
func (p Payload) Seq() uint64 { return p.u64(offSeq) }

// IDHash is xxh64 of the message id.
func (p Payload) IDHash() uint64 { return p.u64(offIDHash) }

// BornMS is the client's birth time of the message, Unix milliseconds.
func (p Payload) BornMS() int64 { return int64(p.u64(offBorn)) } //nolint:gosec // two's complement is the format

// TagHash is the hash of the tag, 0 without one.
func (p Payload) TagHash() uint32 { return binary.LittleEndian.Uint32(p[offTagHash:]) }

// GroupHash is the hash of the message group, 0 without one.
func (p Payload) GroupHash() uint64 { return p.u64(offGroup) }

// Keys is the number of key hashes.
func (p Payload) Keys() int { return int(binary.LittleEndian.Uint16(p[offKeys:])) }

// Key is the i-th key hash.
func (p Payload) Key(i int) uint32 { return binary.LittleEndian.Uint32(p[headSize+4*i:]) }

// Head returns a copy of all that stands in the head.
func (p Payload) Head() Head {
	h := Head{
		Topic: p.Topic(), Queue: p.Queue(), Proxy: p.Proxy(), Seq: p.Seq(), IDHash: p.IDHash(),
		BornMS: p.BornMS(), TagHash: p.TagHash(), GroupHash: p.GroupHash(),
	}
	for i := range p.Keys() {
		h.KeyHashes = append(h.KeyHashes, p.Key(i))
	}
	return h
}

func (p Payload) sysStart() int { return headSize + 4*p.Keys() }

// Sys is the encoded client-owned system properties; it shares p's memory.
func (p Payload) Sys() []byte {
	s := p.sysStart()
	return p[s : s+int(binary.LittleEndian.Uint32(p[offSysLen:]))]
}

// Rest is the encoded rest of the message; it shares p's memory.
func (p Payload) Rest() []byte {
	return p[p.sysStart()+int(binary.LittleEndian.Uint32(p[offSysLen:])):]
}

// SetSource stamps the proxy's incarnation and sequence number in place, when
// the message is handed to a shard.
func (p Payload) SetSource(proxy, seq uint64) {
	binary.LittleEndian.PutUint64(p[offProxy:], proxy)
	binary.LittleEndian.PutUint64(p[offSeq:], seq)
}

// SetPlace stamps topic and queue in place, when a copy goes to another queue.
func (p Payload) SetPlace(t ident.Topic, q ident.Queue) {
	binary.LittleEndian.PutUint64(p[0:], uint64(t))
	binary.LittleEndian.PutUint64(p[offQueue:], uint64(q))
}
