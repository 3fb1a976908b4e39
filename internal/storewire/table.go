// SPDX-License-Identifier: Apache-2.0

package storewire

import "github.com/mansiomq/mansio/internal/storeapi"

// state says how far an operation in a table has come.
type state uint8

const (
	free    state = iota
	queued        // in the lane's queue
	inHand        // the sender reads its buffers: it must not be completed now
	written       // handed to the stream; the store may have it
)

// slot holds one operation in flight.
type slot struct {
	op    *storeapi.Op
	bytes int
	gen   uint32
	state state
}

// table finds operations in flight by id. An id is generation ‖ table ‖ index, so
// that a late reply never meets the slot's next operation. The lane's lock
// guards it.
type table struct {
	slots []slot
	spare []uint32 // indexes of free slots
	used  int
	max   int
	mark  uint64 // parkMark or 0
}

const (
	indexBits = 24
	indexMask = 1<<indexBits - 1
	parkMark  = 1 << indexBits
	genShift  = 32
)

func (t *table) full() bool { return t.used >= t.max }

// put stores op as queued and returns its id. The table must not be full.
func (t *table) put(op *storeapi.Op, bytes int) uint64 {
	var i uint32
	if n := len(t.spare); n > 0 {
		i, t.spare = t.spare[n-1], t.spare[:n-1]
	} else {
		i = uint32(len(t.slots)) //nolint:gosec // max is below 1<<indexBits
		t.slots = append(t.slots, slot{})
	}
	s := &t.slots[i]
	s.op, s.bytes, s.state = op, bytes, queued
	t.used++
	return uint64(s.gen)<<genShift | t.mark | uint64(i)
}

// get returns the slot of id, nil when its operation is gone.
func (t *table) get(id uint64) *slot {
	i := id & indexMask
	if i >= uint64(len(t.slots)) {
		return nil
	}
	s := &t.slots[i]
	if s.state == free || uint64(s.gen) != id>>genShift {
		return nil
	}
	return s
}

// drop frees the slot of id, which must be in use.
func (t *table) drop(id uint64) {
	s := t.get(id)
	*s = slot{gen: s.gen + 1}
	t.spare = append(t.spare, uint32(id&indexMask))
	t.used--
}

// all calls visit with each operation in flight; visit may drop it.
func (t *table) all(visit func(id uint64, s *slot)) {
	for i := range t.slots {
		if s := &t.slots[i]; s.state != free {
			visit(uint64(s.gen)<<genShift|t.mark|uint64(i), s)
		}
	}
}
