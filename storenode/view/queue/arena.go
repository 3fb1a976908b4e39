// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"math"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/invariant"
)

const (
	// pageRecs is how many records a page of the arena has: 16 KiB, so that a
	// quiet shard keeps little and a busy one allocates rarely.
	pageRecs = 1024
	// skipEvery is how many postings of one queue lie between two remembered
	// ones: a lookup walks fewer links than this.
	skipEvery = 16
	// lsnShift drops the bits of an LSN that alignment makes zero.
	lsnShift = 3
)

// rec is one posting. next is the record of the same queue's next posting; the
// arena's record 0 follows nothing, so 0 means that there is none.
type rec struct {
	lsn   uint32 // (LSN − base) >> lsnShift
	bytes uint32
	tag   uint32
	next  uint32
}

// page is a piece of the arena. groups is allocated when a first record of the
// page has a group hash: most topics never do.
type page struct {
	recs   [pageRecs]rec
	groups *[pageRecs]uint64
}

// touched is a queue that has postings in the segment.
type touched struct {
	slot  uint32 // of the queue in Queues
	first uint32 // record of its first posting
	last  uint32
	count uint32
	skips uint32 // in arena.skips, 0: none yet
}

// arena holds the postings of one segment in log order, chained per queue:
// 16 bytes each, 24 with a message group. It only grows, and never changes once
// its segment is sealed.
type arena struct {
	base    ident.LSN
	pages   []*page
	n       uint32
	touched []touched
	skips   [][]uint32 // records of a queue's postings 16, 32, 48, …; [0] unused
	times   times
}

func newArena(base ident.LSN) *arena { return &arena{base: base, skips: make([][]uint32, 1)} }

// add appends a posting to a touched queue.
func (a *arena) add(t uint32, p Posting) {
	distance := uint64(p.LSN-a.base) >> lsnShift
	if p.LSN < a.base || distance > math.MaxUint32 || p.LSN&(1<<lsnShift-1) != 0 {
		invariant.Check(false, "queue: posting at LSN %d in a segment from %d", p.LSN, a.base)
	}
	i := a.n
	if i%pageRecs == 0 {
		a.pages = append(a.pages, new(page))
	}
	pg := a.pages[i/pageRecs]
	pg.recs[i%pageRecs] = rec{lsn: uint32(distance), bytes: p.Bytes, tag: p.TagHash} //nolint:gosec // checked above
	if p.GroupHash != 0 {
		if pg.groups == nil {
			pg.groups = new([pageRecs]uint64)
		}
		pg.groups[i%pageRecs] = p.GroupHash
	}
	a.n++
	a.link(&a.touched[t], i)
}

func (a *arena) link(q *touched, i uint32) {
	if q.count == 0 {
		q.first = i
	} else {
		a.rec(q.last).next = i
	}
	if q.count > 0 && q.count%skipEvery == 0 {
		if q.skips == 0 {
			q.skips = uint32(len(a.skips)) //nolint:gosec // fewer than records
			a.skips = append(a.skips, nil)
		}
		a.skips[q.skips] = append(a.skips[q.skips], i)
	}
	q.last = i
	q.count++
}

func (a *arena) rec(i uint32) *rec { return &a.pages[i/pageRecs].recs[i%pageRecs] }

// seek returns the record of a queue's k-th posting.
func (a *arena) seek(q *touched, k uint32) uint32 {
	i := q.first
	if s := k / skipEvery; s > 0 {
		i = a.skips[q.skips][s-1]
	}
	for range k % skipEvery {
		i = a.rec(i).next
	}
	return i
}

func (a *arena) posting(i uint32) Posting {
	pg := a.pages[i/pageRecs]
	r := &pg.recs[i%pageRecs]
	p := Posting{LSN: a.base + ident.LSN(r.lsn)<<lsnShift, Bytes: r.bytes, TagHash: r.tag}
	if pg.groups != nil {
		p.GroupHash = pg.groups[i%pageRecs]
	}
	return p
}

// read fills dst with a queue's postings from the k-th one upward.
func (a *arena) read(q *touched, k uint32, dst []Posting) int {
	n := min(len(dst), int(q.count-k))
	if n == 0 {
		return 0
	}
	i := a.seek(q, k)
	for j := range dst[:n] {
		dst[j] = a.posting(i)
		i = a.rec(i).next
	}
	return n
}
