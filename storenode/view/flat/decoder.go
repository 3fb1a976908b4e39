// SPDX-License-Identifier: Apache-2.0

package flat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrDamaged marks bytes that are not what an encoder writes.
var ErrDamaged = errors.New("damaged encoding")

// Decoder reads scalars from memory. The first failure sticks; everything read
// after it is zero. Finish or Err reports it. It is not safe for concurrent use.
type Decoder struct {
	b      []byte
	failed bool
	bad    string // the first thing that was wrong
}

// NewDecoder makes a decoder of b, which it keeps.
func NewDecoder(b []byte) *Decoder { return &Decoder{b: b} }

// Reset makes the decoder one of b, to use its memory again.
func (d *Decoder) Reset(b []byte) { *d = Decoder{b: b} }

// ReadAll makes a decoder of all that r has. The caller bounds r.
func ReadAll(r io.Reader) (*Decoder, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return NewDecoder(b), nil
}

// Fail makes the decoder fail for a reason that only the caller sees.
func (d *Decoder) Fail(what string) {
	if !d.failed {
		d.failed, d.bad = true, what
	}
	d.b = nil
}

// OK reports whether nothing was wrong yet.
func (d *Decoder) OK() bool { return !d.failed }

// Left is the number of bytes that are not read yet.
func (d *Decoder) Left() int { return len(d.b) }

func (d *Decoder) take(n int, what string) []byte {
	if len(d.b) < n {
		d.Fail(what)
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

// U8 reads one byte.
func (d *Decoder) U8(what string) uint8 {
	if b := d.take(1, what); b != nil {
		return b[0]
	}
	return 0
}

// U32 reads four bytes.
func (d *Decoder) U32(what string) uint32 {
	if b := d.take(4, what); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// U64 reads eight bytes.
func (d *Decoder) U64(what string) uint64 {
	if b := d.take(8, what); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// UV reads an unsigned varint.
func (d *Decoder) UV(what string) uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 {
		v := d.b[0]
		d.b = d.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.Fail(what)
		return 0
	}
	d.b = d.b[n:]
	return v
}

// SV reads a zigzag varint.
func (d *Decoder) SV(what string) int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.Fail(what)
		return 0
	}
	d.b = d.b[n:]
	return v
}

// Max reads an unsigned varint that must not exceed limit.
func (d *Decoder) Max(limit uint64, what string) uint64 {
	v := d.UV(what)
	if v > limit {
		d.Fail(what)
		return 0
	}
	return v
}

// Count reads a number of items of which each takes at least each bytes, so
// that it is bounded by what is left.
func (d *Decoder) Count(each int, what string) int {
	return int(d.Max(uint64(len(d.b)/each), what)) //nolint:gosec // bounded by a length
}

// Flag reads a boolean; only 0 and 1 are sound.
func (d *Decoder) Flag(what string) bool {
	v := d.U8(what)
	if v > 1 {
		d.Fail(what)
	}
	return v == 1
}

// Str reads bytes with their length in front. They share the decoder's memory.
func (d *Decoder) Str(what string) []byte {
	n := d.Count(1, what)
	if !d.OK() {
		return nil
	}
	return d.take(n, what)
}

// Version reads the version byte that begins every encoding.
func (d *Decoder) Version(want uint8) {
	if v := d.U8("version"); d.OK() && v != want {
		d.Fail(fmt.Sprintf("version %d, this build reads %d", v, want))
	}
}

// Err reports what was wrong, if anything, as an error that is ErrDamaged.
func (d *Decoder) Err(of string) error {
	if d.failed {
		return fmt.Errorf("%w of %s: bad %s", ErrDamaged, of, d.bad)
	}
	return nil
}

// Finish is Err, and bytes left over are wrong too.
func (d *Decoder) Finish(of string) error {
	if len(d.b) > 0 {
		d.Fail(fmt.Sprintf("end: %d bytes left over", len(d.b)))
	}
	return d.Err(of)
}
