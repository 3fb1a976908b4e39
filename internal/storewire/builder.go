// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of the fields that OpBatch and ReplyBatch have in common.
const (
	fieldItem protowire.Number = 2
	fieldPart protowire.Number = 3
)

// builder packs encoded Ops or Replies into messages of at most frameMax bytes.
// One goroutine owns it.
type builder struct {
	pool  mem.BufferPool
	frame []byte
	large []large // waiting in order; the first one is being cut
}

// large is an encoded item that travels in parts.
type large struct {
	id   uint64
	data []byte
	at   int // sent so far
}

// firstFrame is the capacity a message starts with; it grows by doubling.
const firstFrame = 4 << 10

// grow makes sure that n more bytes can be appended to the message without
// moving it, taking buffers from the pool.
func (b *builder) grow(n int) {
	if need := len(b.frame) + n; need > cap(b.frame) {
		bigger := *b.pool.Get(max(need, 2*cap(b.frame), firstFrame))
		bigger = bigger[:copy(bigger, b.frame)]
		b.release()
		b.frame = bigger
	}
}

func (b *builder) release() {
	if b.frame != nil {
		old := b.frame[:cap(b.frame)]
		b.pool.Put(&old)
		b.frame = nil
	}
}

// full says that no further item should be added to this message.
func (b *builder) full() bool { return len(b.frame) >= frameFull }

// empty says that there is nothing to send, not even parts.
func (b *builder) empty() bool { return len(b.frame) == 0 && len(b.large) == 0 }

// add appends one item that encode appends to the slice it is given. hint is
// about how long it becomes. whole is false when it will travel in parts.
func (b *builder) add(id uint64, hint int, encode func([]byte) []byte) (whole bool) {
	if hint >= partMin {
		b.large = append(b.large, large{id: id, data: encode(make([]byte, 0, hint))})
		return false
	}
	b.grow(hint + 16)
	frame, at := open(b.frame, fieldItem)
	frame = encode(frame)
	if n := len(frame) - at; n >= partMin || len(frame) > frameMax { // the hint was too low
		b.large = append(b.large, large{id: id, data: append([]byte(nil), frame[at:]...)})
		b.frame = frame[:len(b.frame)]
		return false
	}
	shut(frame, at)
	b.frame = frame
	return true
}

// addPart fills what room the message has with the next piece of the first large
// item, and reports whether it was its last one. A message that is full gets
// none: small items pass by.
func (b *builder) addPart() (last bool) {
	if len(b.large) == 0 {
		return false
	}
	const overhead = 48
	room := frameMax - overhead - len(b.frame)
	if room < partMin/2 {
		return false
	}
	l := &b.large[0]
	piece := l.data[l.at:min(l.at+room, len(l.data))]
	b.grow(len(piece) + overhead)
	var at int
	b.frame, at = open(b.frame, fieldPart)
	b.frame = putUint(b.frame, 1, l.id)
	b.frame = putUint(b.frame, 2, uint64(len(l.data)))
	b.frame = putItem(b.frame, 3, piece)
	shut(b.frame, at)
	if l.at += len(piece); l.at < len(l.data) {
		return false
	}
	b.large[0] = large{}
	b.large = b.large[1:]
	return true
}

// take returns the message and starts a new one.
func (b *builder) take() *outFrame {
	buf := b.frame
	b.frame = nil
	return &outFrame{buf: &buf, pool: b.pool}
}

// drop forgets all that was not taken.
func (b *builder) drop() {
	b.release()
	b.large = nil
}
