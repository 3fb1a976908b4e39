// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"hash/maphash"
	"math/bits"

	"github.com/mansiomq/mansio/internal/ident"
)

// table finds a queue's slot: open addressing over slot numbers + 1, between 3/8
// and 3/4 full, so it costs 5 to 11 bytes a queue where a map costs 40. The seed
// differs per process, since clients choose the names that lite queues hash
// from; nothing that a caller sees depends on it.
type table struct {
	seed  uint64
	cells []uint32
	used  int
}

const tableMin = 64

func newTable() table {
	return table{seed: maphash.Bytes(maphash.MakeSeed(), nil), cells: make([]uint32, tableMin)}
}

func (t *table) start(topic ident.Topic, q ident.Queue) uint64 {
	hi, lo := bits.Mul64(uint64(topic)^t.seed, 0x9e3779b97f4a7c15)
	hi2, lo2 := bits.Mul64(uint64(q)^hi^lo, 0xd6e8feb86659fd93^t.seed)
	return hi2 ^ lo2
}

// find returns the slot of a queue, or false.
func (t *table) find(entries []entry, topic ident.Topic, q ident.Queue) (uint32, bool) {
	mask := uint64(len(t.cells) - 1) //nolint:gosec // never empty
	for i := t.start(topic, q) & mask; t.cells[i] != 0; i = (i + 1) & mask {
		slot := t.cells[i] - 1
		if e := &entries[slot]; e.queue == q && e.topic == topic {
			return slot, true
		}
	}
	return 0, false
}

// insert adds the queue in slot, which is not there yet.
func (t *table) insert(entries []entry, slot uint32) {
	if 4*(t.used+1) > 3*len(t.cells) {
		t.rebuild(entries[:slot], 2*len(t.cells))
	}
	t.put(&entries[slot], slot)
}

func (t *table) put(e *entry, slot uint32) {
	mask := uint64(len(t.cells) - 1) //nolint:gosec // never empty
	i := t.start(e.topic, e.queue) & mask
	for t.cells[i] != 0 {
		i = (i + 1) & mask
	}
	t.cells[i] = slot + 1
	t.used++
}

// rebuild makes a table of at least size cells that holds all live entries.
func (t *table) rebuild(entries []entry, size int) {
	for 4*(len(entries)+1) > 3*size {
		size *= 2
	}
	t.cells, t.used = make([]uint32, size), 0
	for i := range entries {
		if !entries[i].dead() {
			t.put(&entries[i], uint32(i))
		}
	}
}
