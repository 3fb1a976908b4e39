// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"cmp"
	"slices"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

// fillerMax is the longest gap between chosen offsets of a queue that a pass
// run bridges; beyond it the queue gets another item.
const fillerMax = 1 << 20

// mark is what a selection holds in one queue.
type mark struct {
	queue     ident.Queue
	leases    int
	passes    uint64
	freshFrom uint64 // promised up to here before
	freshEnd  uint64
	known     []row
}

type row struct{ from, n uint64 }

// end keeps what was found out and, unless dry, turns the spans into the
// selection.
func (b *batch) end() {
	for i := range b.walks {
		b.keep(&b.walks[i])
	}
	switch {
	case b.capped && b.p != nil:
		b.p.capped = true
	case b.capped:
		b.sight.capped = true
	}
	if !b.dry {
		b.sel.Picks = make([]Pick, 0, b.taken)
		slices.SortStableFunc(b.spans, func(x, y span) int {
			return cmp.Or(cmp.Compare(x.walk, y.walk), cmp.Compare(x.from, y.from))
		})
		b.bookAll()
		b.sel.Bytes = b.bytes
	}
	b.s.walks, b.s.spans, b.s.posts = b.walks[:0], b.spans[:0], b.posts[:0]
}

// keep stores how far the filter has looked in the queue.
func (b *batch) keep(w *walk) {
	if !w.scans {
		return
	}
	at := w.at
	if w.ahead > w.known && (w.held.mixed || w.held.filter != b.req.Filter.key) {
		at = min(at, w.known) // what others have been promised may be passed to us
	}
	w.pos.at = at
	b.sight.cursors[cursorKey{b.req.Filter.key, w.state.ID}] = w.pos
	if w.pos.skip && at > w.pos.skipAt && at-w.pos.skipAt >= skipOffsetsMin {
		b.skippable = true
	}
}

// bookAll turns the spans into the selection, queue by queue. All runs share
// one array, of which each item has its part.
func (b *batch) bookAll() {
	walks := 0
	for i := range b.spans {
		if i == 0 || b.spans[i].walk != b.spans[i-1].walk {
			walks++
		}
	}
	b.runs = make([]record.Run, 0, 2*len(b.spans)) // a span and the gap before it
	b.sel.Items = make([]record.GrantItem, 0, walks)
	b.sel.marks = make([]mark, 0, walks)
	for from := 0; from < len(b.spans); {
		to := from
		for to < len(b.spans) && b.spans[to].walk == b.spans[from].walk {
			to++
		}
		b.book(&b.walks[b.spans[from].walk], b.spans[from:to])
		from = to
	}
}

// book turns the spans of one queue, in order, into items, picks and a mark.
func (b *batch) book(w *walk, spans []span) {
	m := mark{queue: w.state.ID, leases: w.leases, passes: w.passes, freshFrom: w.ahead, freshEnd: w.cover}
	var it *record.GrantItem
	var end uint64
	for i := range spans {
		sp := &spans[i]
		if it == nil || sp.from-end > fillerMax {
			b.sel.Items = append(b.sel.Items, record.GrantItem{Queue: w.state.ID, First: ident.Offset(sp.from)})
			it = &b.sel.Items[len(b.sel.Items)-1]
			end = sp.from
			if w.q == nil && w.known < sp.from { // it may be the first to be logged: begin at the start
				it.First, end = ident.Offset(w.known), w.known
			}
		}
		b.addRun(it, record.RunPass, sp.from-end)
		b.addRun(it, sp.kind, sp.n)
		end = sp.from + sp.n
		if sp.kind == record.RunLease {
			b.pick(w, sp)
		}
		if sp.was != wasFresh {
			m.known = append(m.known, row{sp.from, sp.n})
		}
	}
	h := b.sight.holds[m.queue]
	h.mixed = h.grants > 0 && (h.mixed || h.filter != b.req.Filter.key)
	h.filter = b.req.Filter.key
	h.next = max(h.next, w.cover)
	h.grants++
	h.leases += m.leases
	h.passes += m.passes
	b.sight.holds[m.queue] = h
	b.sight.leases += m.leases
	b.sel.marks = append(b.sel.marks, m)
}

func (b *batch) addRun(it *record.GrantItem, kind record.RunKind, n uint64) {
	if n == 0 {
		return
	}
	k := len(it.Runs)
	if k > 0 && it.Runs[k-1].Kind == kind {
		it.Runs[k-1].Count += n
		return
	}
	b.runs = append(b.runs, record.Run{Kind: kind, Count: n})
	it.Runs = b.runs[len(b.runs)-k-1 : len(b.runs) : len(b.runs)]
}

func (b *batch) pick(w *walk, sp *span) {
	for o := sp.from; o < sp.from+sp.n; o++ {
		attempts := 1
		if sp.was == wasDue {
			_, c := b.d.chunkOf(w.q, o)
			attempts = nextAttempt(b.d.slotOf(c, o-c.base))
		}
		b.sel.Picks = append(b.sel.Picks, Pick{w.state.ID, ident.Offset(o), attempts})
	}
}
