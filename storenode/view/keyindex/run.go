// SPDX-License-Identifier: Apache-2.0

package keyindex

import (
	"sort"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/view/sealed"
)

// Query asks a segment, or all of them, for entries in [From, To).
type Query struct {
	Key    Key
	From   ident.LSN
	To     ident.LSN
	Max    int  // at most this many LSNs
	Newest bool // from the highest LSN downward instead of from the lowest upward
}

// Source is the keys and ids of one segment: a Run in memory or a Stored one in
// a file. It never changes, and all methods may be called concurrently.
type Source interface {
	Segment() sealed.Segment
	// Find appends the LSNs of candidates to dst, each once, in the order that
	// the query wants. A damaged file is fault.Corrupt.
	Find(dst []ident.LSN, q Query) ([]ident.LSN, error)
}

var (
	_ Source = (*Run)(nil)
	_ Source = (*Stored)(nil)
)

// answer collects LSNs in order and without repetitions.
type answer struct {
	dst   []ident.LSN
	start int
	max   int
}

// add reports whether there is room for more.
func (a *answer) add(lsn ident.LSN) bool {
	n := len(a.dst)
	if n-a.start >= a.max {
		return false
	}
	if n == a.start || a.dst[n-1] != lsn {
		a.dst = append(a.dst, lsn)
	}
	return true
}

// Run is the keys and ids of a segment in memory.
type Run struct {
	seg  sealed.Segment
	base ident.LSN // that the lists' LSNs are told from
	keys list[uint32]
	ids  list[uint64]
}

// Segment implements Source.
func (r *Run) Segment() sealed.Segment { return r.seg }

// Find implements Source.
func (r *Run) Find(dst []ident.LSN, q Query) ([]ident.LSN, error) {
	a := answer{dst: dst, start: len(dst), max: q.Max}
	if q.Key.kind == byKey {
		scan(&r.keys, uint32(q.Key.hash), r.base, q, &a) //nolint:gosec // made from 32 bits
	} else {
		scan(&r.ids, q.Key.hash, r.base, q, &a)
	}
	return a.dst, nil
}

// scan walks the part of a list that the query wants, in its order.
func scan[H uint32 | uint64](l *list[H], want H, base ident.LSN, q Query, a *answer) {
	place := func(lsn ident.LSN) int { // of the first pair at or behind lsn
		return sort.Search(l.n, func(i int) bool { _, d := l.at(i); return lsnAt(base, d) >= lsn })
	}
	from, to := place(q.From), place(q.To)
	for k := range max(0, to-from) {
		i := from + k
		if q.Newest {
			i = to - 1 - k
		}
		if h, d := l.at(i); h == want && !a.add(lsnAt(base, d)) {
			return
		}
	}
}

func lsnAt(base ident.LSN, distance uint32) ident.LSN { return base + ident.LSN(distance)<<lsnShift }
