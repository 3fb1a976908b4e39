// SPDX-License-Identifier: Apache-2.0

package keyindex

import (
	"encoding/binary"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/invariant"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/storenode/view/sealed"
)

// lsnShift drops the bits of an LSN that alignment makes zero.
const lsnShift = 3

// kind is one of the two lists.
type kind uint8

const (
	byKey kind = iota
	byID
)

// Key is what a lookup asks for.
type Key struct {
	kind kind
	hash uint64
}

// OfKey asks for the messages of a topic that have a key; keyHash is
// ident.Hash32 of its text.
func OfKey(t ident.Topic, keyHash uint32) Key { return Key{byKey, uint64(keyOf(t, keyHash))} }

// OfID asks for the message with an id; idHash is ident.Hash64 of its text.
func OfID(idHash uint64) Key { return Key{byID, idHash} }

func keyOf(t ident.Topic, keyHash uint32) uint32 {
	var b [12]byte
	binary.LittleEndian.PutUint64(b[:], uint64(t))
	binary.LittleEndian.PutUint32(b[8:], keyHash)
	return uint32(xxhash.Sum64(b[:])) //nolint:gosec // the low half is meant
}

// Index is the fold: the keys and ids of the active segment. It is not safe for
// concurrent use.
type Index struct {
	keys list[uint32]
	ids  list[uint64]
	base ident.LSN // of the first entry that has any
}

// New makes an empty view.
func New() *Index { return &Index{} }

// Add indexes a message that became visible and whose body stands in the entry
// at lsn. LSNs grow.
func (x *Index) Add(lsn ident.LSN, p message.Payload) {
	for i := range p.Keys() {
		x.keys.add(keyOf(p.Topic(), p.Key(i)), x.distance(lsn))
	}
	if id := p.IDHash(); id != 0 {
		x.ids.add(id, x.distance(lsn))
	}
}

// distance tells an LSN in 32 bits.
func (x *Index) distance(lsn ident.LSN) uint32 {
	if x.keys.n+x.ids.n == 0 {
		x.base = lsn
	}
	d := uint64(lsn-x.base) >> lsnShift
	if lsn < x.base || d > math.MaxUint32 || lsn&(1<<lsnShift-1) != 0 { // operands cost allocations
		invariant.Check(false, "keyindex: LSN %d in a segment from %d", lsn, x.base)
	}
	return uint32(d) //nolint:gosec // checked above
}

// Snapshot returns what the active segment holds now, for other goroutines. It
// costs no copy. Its segment has no end: it stands for all that was added.
func (x *Index) Snapshot() *Run {
	return &Run{seg: sealed.Segment{Base: x.base, End: math.MaxUint64}, base: x.base, keys: x.keys, ids: x.ids}
}

// Freeze ends the active segment [base, end) at its Seal: it returns the run of
// its keys and ids and starts an empty one.
func (x *Index) Freeze(base, end ident.LSN) *Run {
	invariant.Check(base <= end && (x.keys.n+x.ids.n == 0 || base <= x.base && x.base < end),
		"keyindex: freezing [%d, %d), first entry at %d", base, end, x.base)
	r := &Run{seg: sealed.Segment{Base: base, End: end}, base: x.base, keys: x.keys, ids: x.ids}
	*x = Index{}
	return r
}

// Len is the number of keys and ids in the active segment.
func (x *Index) Len() int { return x.keys.n + x.ids.n }

// pageLen is how many pairs a page of a list has.
const pageLen = 1024

// page is a piece of a list. A pair that was added never changes.
type page[H uint32 | uint64] struct {
	hash [pageLen]H
	lsn  [pageLen]uint32
}

// list is pairs in order of entries. A copy of a list is a snapshot of it: adding
// to the original writes only behind the copy's n.
type list[H uint32 | uint64] struct {
	pages []*page[H]
	n     int
}

func (l *list[H]) add(h H, lsn uint32) {
	i := l.n % pageLen
	if i == 0 {
		l.pages = append(l.pages, new(page[H]))
	}
	p := l.pages[l.n/pageLen]
	p.hash[i], p.lsn[i] = h, lsn
	l.n++
}

func (l *list[H]) at(i int) (H, uint32) {
	p := l.pages[i/pageLen]
	return p.hash[i%pageLen], p.lsn[i%pageLen]
}
