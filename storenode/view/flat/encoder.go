// SPDX-License-Identifier: Apache-2.0

package flat

import (
	"encoding/binary"
	"io"
)

// chunkBytes is how much an Encoder gathers before it writes: large enough that
// the writer's cost per call vanishes, small enough to stay in the cache.
const chunkBytes = 32 << 10

// Encoder writes scalars to a writer in chunks. The first error sticks and
// comes out of Flush. It is not safe for concurrent use.
type Encoder struct {
	w   io.Writer
	buf []byte
	n   int64
	err error
}

// NewEncoder makes an encoder that writes to w.
func NewEncoder(w io.Writer) *Encoder {
	return &Encoder{w: w, buf: make([]byte, 0, chunkBytes+binary.MaxVarintLen64)}
}

func (e *Encoder) room() {
	if len(e.buf) >= chunkBytes {
		e.write()
	}
}

func (e *Encoder) write() {
	if e.err == nil {
		_, e.err = e.w.Write(e.buf)
	}
	e.n += int64(len(e.buf))
	e.buf = e.buf[:0]
}

// U8 writes one byte.
func (e *Encoder) U8(v uint8) {
	e.buf = append(e.buf, v)
	e.room()
}

// U32 writes four bytes.
func (e *Encoder) U32(v uint32) {
	e.buf = binary.LittleEndian.AppendUint32(e.buf, v)
	e.room()
}

// U64 writes eight bytes.
func (e *Encoder) U64(v uint64) {
	e.buf = binary.LittleEndian.AppendUint64(e.buf, v)
	e.room()
}

// UV writes an unsigned varint.
func (e *Encoder) UV(v uint64) {
	e.buf = binary.AppendUvarint(e.buf, v)
	e.room()
}

// SV writes a zigzag varint.
func (e *Encoder) SV(v int64) {
	e.buf = binary.AppendVarint(e.buf, v)
	e.room()
}

// Flag writes a boolean as one byte, 0 or 1.
func (e *Encoder) Flag(v bool) {
	if v {
		e.U8(1)
		return
	}
	e.U8(0)
}

// Str writes bytes with their length in front.
func (e *Encoder) Str(b []byte) {
	e.UV(uint64(len(b)))
	e.Raw(b)
}

// Raw writes bytes as they are.
func (e *Encoder) Raw(b []byte) {
	if len(b) < chunkBytes {
		e.buf = append(e.buf, b...)
		e.room()
		return
	}
	e.write()
	if e.err == nil {
		_, e.err = e.w.Write(b)
	}
	e.n += int64(len(b))
}

// Written is the number of bytes encoded so far, flushed or not.
func (e *Encoder) Written() int64 { return e.n + int64(len(e.buf)) }

// Flush writes what is gathered and returns the first error of all writes.
func (e *Encoder) Flush() error {
	if len(e.buf) > 0 {
		e.write()
	}
	return e.err
}
