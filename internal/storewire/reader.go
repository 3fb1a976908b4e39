// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// itemsMax bounds the repeated fields of one message: an element costs two bytes
// on the wire and up to a hundred in memory.
const itemsMax = 1 << 16

var errItems = fmt.Errorf("more than %d elements in one message", itemsMax)

// reader walks the fields of one encoded message. It skips nothing by itself:
// callers leave unknown numbers alone. The first error ends the walk.
type reader struct {
	rest []byte
	err  error

	num  protowire.Number
	typ  protowire.Type
	u    uint64 // of a varint field
	data []byte // of a bytes field; shares the message's memory
}

// next moves to the next field and reports whether there is one.
func (r *reader) next() bool {
	if r.err != nil || len(r.rest) == 0 {
		return false
	}
	num, typ, n := protowire.ConsumeTag(r.rest)
	if n < 0 {
		return r.fail(protowire.ParseError(n))
	}
	r.num, r.typ, r.rest, r.u, r.data = num, typ, r.rest[n:], 0, nil
	switch typ {
	case protowire.VarintType:
		r.u, n = protowire.ConsumeVarint(r.rest)
	case protowire.BytesType:
		r.data, n = protowire.ConsumeBytes(r.rest)
	default:
		n = protowire.ConsumeFieldValue(num, typ, r.rest)
	}
	if n < 0 {
		return r.fail(protowire.ParseError(n))
	}
	r.rest = r.rest[n:]
	return true
}

func (r *reader) fail(err error) bool {
	if r.err == nil {
		r.err = err
	}
	return false
}

var errType = errors.New("a field has the wrong wire type")

func (r *reader) uint() uint64 {
	if r.typ != protowire.VarintType {
		r.fail(errType)
	}
	return r.u
}

func (r *reader) uint32() uint32 {
	v := r.uint()
	if v > 1<<32-1 {
		r.fail(fmt.Errorf("field %d: %d does not fit 32 bits", r.num, v))
	}
	return uint32(v) //nolint:gosec // checked above
}

func (r *reader) int() int64 { return int64(r.uint()) } //nolint:gosec // two's complement is the format

func (r *reader) sint() int64 { return protowire.DecodeZigZag(r.uint()) }

func (r *reader) bool() bool { return r.uint() != 0 }

func (r *reader) bytes() []byte {
	if r.typ != protowire.BytesType {
		r.fail(errType)
	}
	return slices.Clip(r.data) // appending to it must not touch its neighbour
}

func (r *reader) text() string { return string(r.bytes()) }

// sub starts a walk through a nested message.
func (r *reader) sub() reader { return reader{rest: r.bytes(), err: r.err} }

// done hands a nested walk's error up.
func (r *reader) done(sub *reader) {
	if sub.err != nil {
		r.fail(sub.err)
	}
}

// more appends v to list unless the list is full.
func more[T any](r *reader, list []T, v T) []T {
	if len(list) >= itemsMax {
		r.fail(errItems)
		return list
	}
	return append(list, v)
}
