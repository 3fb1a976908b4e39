// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/binary"
	"fmt"

	"github.com/mansiomq/mansio/internal/ident"
)

// cursor reads a body. The first failure sticks; finish reports it, and also
// bytes that are left over, so that every decoder is total and exact.
type cursor struct {
	b   []byte
	bad string
}

func (c *cursor) fail(what string) {
	if c.bad == "" {
		c.bad = what
	}
	c.b = nil
}

func (c *cursor) uv(what string) uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.fail(what)
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) sv(what string) int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.fail(what)
		return 0
	}
	c.b = c.b[n:]
	return v
}

// below reads a uv that must not exceed limit.
func (c *cursor) below(limit uint64, what string) uint64 {
	v := c.uv(what)
	if v > limit {
		c.fail(what)
		return 0
	}
	return v
}

// generation reads a group's generation.
func (c *cursor) generation() ident.Generation {
	return ident.Generation(c.below(1<<32-1, "generation")) //nolint:gosec // bounded
}

// small reads a uv that fits in a byte and must not exceed limit.
func (c *cursor) small(limit uint8, what string) uint8 {
	return uint8(c.below(uint64(limit), what)) //nolint:gosec // bounded
}

// count reads a number of items of which each takes at least one byte.
func (c *cursor) count(what string) int {
	return int(c.below(uint64(len(c.b)), what)) //nolint:gosec // bounded by the body's length
}

func (c *cursor) str(what string) []byte {
	n := c.uv(what)
	if n > uint64(len(c.b)) {
		c.fail(what)
	}
	if c.bad != "" {
		return nil
	}
	s := c.b[:n:n]
	c.b = c.b[n:]
	return s
}

func (c *cursor) flag(what string) bool { return c.below(1, what) == 1 }

func (c *cursor) finish(t Type) error {
	switch {
	case c.bad != "":
		return fmt.Errorf("%w: %v body: bad %s", ErrDamaged, t, c.bad)
	case len(c.b) > 0:
		return fmt.Errorf("%w: %v body: %d bytes left over", ErrDamaged, t, len(c.b))
	}
	return nil
}

func putStr[S string | []byte](dst []byte, s S) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func putFlag(dst []byte, f bool) []byte {
	if f {
		return append(dst, 1)
	}
	return append(dst, 0)
}
