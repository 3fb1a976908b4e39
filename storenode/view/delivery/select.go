// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

// fillerMax is the longest gap between chosen offsets of a queue that a pass
// run bridges; beyond it the queue gets another item.
const fillerMax = 1 << 20

// origin is the state in which a chosen offset was found.
type origin uint8

const (
	wasFresh origin = iota
	wasAvailable
	wasDue
)

// span is a row of chosen offsets.
type span struct {
	walk int
	kind record.RunKind
	was  origin
	from uint64
	n    uint64
}

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

// walk is the way of one request through one queue.
type walk struct {
	state  QueueState
	q      *popQueue // nil: the group never read it
	known  uint64    // below it the state knows
	ahead  uint64    // from it on nobody was promised anything
	cover  uint64    // fresh offsets below it are in spans
	at     uint64    // what lies below has been looked at
	place  int       // of the chunk at `at`, a hint
	read   int       // postings to read next
	leases int
	passes uint64
	held   hold
	pos    scanPos
	scans  bool // pos is kept
	spent  bool
}

// batch is one Select or Matchable at work.
type batch struct {
	s         *Selector
	d         *Deliveries
	req       *SelectRequest
	sel       *Selection
	sight     *sight
	p         *pair // nil: the group never read the topic
	walks     []walk
	spans     []span
	looked    int // queues that have a walk or nothing to give
	start     int
	taken     int
	leases    int
	bytes     int64
	budget    int
	runs      []record.Run
	posts     []Posting // of the queue postWalk, from offset postFrom
	postWalk  int
	postFrom  uint64
	dry       bool
	more      bool
	full      bool
	capped    bool
	skippable bool
}

func (s *Selector) begin(req *SelectRequest) *batch {
	g := s.sight(req.Key)
	if g.version != req.Audience.Version {
		g.version = req.Audience.Version
		clear(g.cursors)
		clear(g.dueSeen)
	}
	b := &batch{
		s: s, d: s.d, req: req, sight: g, p: s.d.pairs[req.Key],
		walks: s.walks[:0], spans: s.spans[:0], posts: s.posts[:0],
		budget: scanOffsetsMax, postWalk: -1,
	}
	if n := len(req.Queues); n > 0 {
		b.start = g.turn % n
	}
	return b
}

// selective reports whether postings must be read.
func (b *batch) selective() bool { return !b.req.Filter.All() || b.req.BytesMax > 0 }

// fill picks up to want offsets.
func (b *batch) fill(want int) {
	half := want / 2
	if want&1 != 0 && !b.sight.odd {
		half++
	}
	if !b.dry {
		b.sight.odd = !b.sight.odd
	}
	b.takeDue(half)
	b.takeFresh(want)
	b.takeDue(want)
}

// done reports whether the batch has n offsets, or can get no more.
func (b *batch) done(n int) bool { return b.taken >= n || b.full || b.more }

// takeFresh picks available and fresh offsets until the batch has want, taking
// turns: as many from each queue as make a fair share.
func (b *batch) takeFresh(want int) {
	queues := len(b.req.Queues)
	for b.looked < queues && !b.done(want) {
		from := len(b.walks)
		for b.looked < queues && len(b.walks)-from < want-b.taken {
			b.look((b.start + b.looked) % queues)
			b.looked++
		}
		ready := len(b.walks) - from
		if ready == 0 {
			continue
		}
		quantum := (want - b.taken + ready - 1) / ready
		for again := true; again && !b.done(want); {
			again = false
			for i := from; i < len(b.walks) && !b.done(want); i++ {
				again = b.visit(i, min(quantum, want-b.taken)) || again
			}
		}
	}
	if !b.dry && queues > 0 {
		b.sight.turn = (b.start + max(1, b.looked%queues)) % queues
	}
}

// sweep skips what nobody wants, in all queues.
func (b *batch) sweep() {
	for i := range b.req.Queues {
		n := len(b.walks)
		b.look((b.start + i) % len(b.req.Queues))
		if len(b.walks) > n && !b.more {
			b.visit(n, 0)
		}
	}
}

// look makes a walk for the queue if it may have something.
func (b *batch) look(i int) {
	w := walk{state: b.req.Queues[i], read: postsReadMin}
	if b.p != nil {
		w.q = b.d.queueOf(b.p, w.state.ID)
	}
	if w.q != nil {
		w.known = w.q.next
	} else {
		w.known = b.first(w.state)
	}
	w.held = b.sight.holds[w.state.ID]
	w.ahead = max(w.known, w.held.next)
	w.cover = w.ahead
	w.at = w.known
	if w.q != nil && w.q.available > 0 {
		w.at = w.q.chunks[0].no << chunkBits
	}
	visible := uint64(w.state.Next)
	if w.at >= w.known && max(w.at, w.ahead) >= visible {
		return
	}
	if !b.req.Filter.All() || w.at < w.known {
		w.scans = true
		w.pos = b.sight.cursors[cursorKey{b.req.Filter.key, w.state.ID}]
		from := w.pos.at
		if w.pos.skip && !b.dry {
			from = min(from, w.pos.skipAt)
			w.pos.skip = false
		}
		w.at = max(w.at, from)
		if w.at >= w.known && max(w.at, w.ahead) >= visible {
			if w.pos.skip && w.at-w.pos.skipAt >= skipOffsetsMin {
				b.skippable = true
			}
			return
		}
	}
	b.walks = append(b.walks, w)
}

// first is where the group begins in a queue that it never read.
func (b *batch) first(q QueueState) uint64 {
	if b.p == nil || b.p.start.Kind == record.StartEarliest || b.req.First == nil {
		return uint64(q.Min)
	}
	return uint64(min(max(b.req.First(q.ID, b.p.start), q.Min), max(q.Next, q.Min)))
}

// visit picks up to quota offsets of a walk and reports whether it may have
// more. With a quota of 0 it only moves on to the first match.
func (b *batch) visit(i, quota int) bool {
	w := &b.walks[i]
	got := 0
	for !w.spent && !b.full && !b.more {
		size, ok := b.seek(i, w)
		if !ok {
			w.spent = true
			break
		}
		if got >= quota {
			break
		}
		if !b.room(w) {
			b.capped, w.spent = true, true
			break
		}
		if b.over(size) {
			b.full = true
			break
		}
		n := uint64(1)
		if w.at >= w.ahead && !b.selective() {
			n = b.row(w, quota-got)
		}
		if !b.lease(i, w, n, size) {
			break
		}
		got += int(n) //nolint:gosec // at most quota
	}
	return !w.spent && got > 0
}

// row is how many fresh offsets in a row may be picked, at most quota.
func (b *batch) row(w *walk, quota int) uint64 {
	n := min(uint64(quota), uint64(w.state.Next)-w.at) //nolint:gosec // not negative
	return min(n, uint64(b.leasesLeft(w)))             //nolint:gosec // not negative, as room said
}

// over reports whether a message of that size would break the limit of bytes.
func (b *batch) over(size uint32) bool {
	return b.req.BytesMax > 0 && b.taken > 0 && b.bytes+int64(size) > b.req.BytesMax
}

func (b *batch) room(w *walk) bool { return b.leasesLeft(w) > 0 }

// leasesLeft is how many more leases the caps allow in the queue.
func (b *batch) leasesLeft(w *walk) int {
	live, inQueue := 0, 0
	if b.p != nil {
		live = int(b.p.live) //nolint:gosec // bounded by the caps
	}
	if w.q != nil {
		inQueue = int(w.q.live) //nolint:gosec // bounded by the caps
	}
	return min(
		cmp.Or(b.req.InFlightMax, InFlightMaxDefault)-live-b.sight.leases-b.leases,
		cmp.Or(b.req.QueueInFlightMax, QueueInFlightMaxDefault)-inQueue-w.held.leases-w.leases,
	)
}

// lease picks n offsets from w.at on, of which the first has that size.
func (b *batch) lease(i int, w *walk, n uint64, size uint32) bool {
	if b.dry {
		b.taken++
		b.full = true
		return true
	}
	was := wasFresh
	if w.at < w.known {
		was = wasAvailable
	}
	if !b.emit(i, w, span{walk: i, kind: record.RunLease, was: was, from: w.at, n: n}) {
		return false
	}
	w.at += n
	w.leases += int(n) //nolint:gosec // at most a batch
	b.leases += int(n) //nolint:gosec // at most a batch
	b.taken += int(n)  //nolint:gosec // at most a batch
	b.bytes += int64(size)
	return true
}

// emit adds a span, and before a fresh one the pass that leads to it. It
// refuses when that would leave too much available.
func (b *batch) emit(i int, w *walk, sp span) bool {
	if sp.was == wasFresh {
		if gap := sp.from - w.cover; gap > 0 {
			open := w.held.passes + w.passes + gap
			if w.q != nil {
				open += w.q.available
			}
			if open > availableMax {
				b.capped, w.spent = true, true
				return false
			}
			w.passes += gap
			b.add(span{walk: i, kind: record.RunPass, was: wasFresh, from: w.cover, n: gap})
		}
		w.cover = sp.from + sp.n
	} else {
		_, c := b.d.chunkOf(w.q, sp.from)
		c.busy |= c.below(sp.from+sp.n) &^ c.below(sp.from)
	}
	b.add(sp)
	return true
}

func (b *batch) add(sp span) {
	if n := len(b.spans); n > 0 {
		last := &b.spans[n-1]
		if last.walk == sp.walk && last.kind == sp.kind && last.was == sp.was && last.from+last.n == sp.from {
			last.n += sp.n
			return
		}
	}
	b.spans = append(b.spans, sp)
}

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

// takeDue picks leases that have fallen due until the batch has want.
func (b *batch) takeDue(want int) {
	if b.p == nil || b.done(want) {
		return
	}
	selective := !b.req.Filter.All()
	seen := b.sight.dueSeen[b.req.Filter.key]
	id := b.p.due.head
	if selective { // the list is in the order of dueSeq
		id = 0
		for at := b.p.due.tail; at != 0 && b.d.chunks.at(at).dueSeq > seen; at = b.d.chunks.at(at).due.prev {
			id = at
		}
	}
	whole := true
	for id != 0 && !b.done(want) {
		c := b.d.chunks.at(id)
		next, seq := c.due.next, c.dueSeq
		whole = b.takeDueOf(id, c, want) && whole
		if selective && whole {
			b.sight.dueSeen[b.req.Filter.key] = seq
		}
		id = next
	}
}

// takeDueOf picks from one chunk and reports whether nothing in it is left for
// this filter.
func (b *batch) takeDueOf(id uint32, c *chunk, want int) bool {
	q := b.d.queues.at(c.queue)
	i, ok := b.walkOf(q)
	if !ok {
		return false
	}
	expired, _ := b.d.refresh(id, c, b.req.NowMS)
	left := expired
	for m := expired; m != 0 && !b.done(want); m &= m - 1 {
		o := c.base + uint64(bits.TrailingZeros64(m)) //nolint:gosec // 0…63
		kind, size, ok := b.judge(i, o)
		switch {
		case !ok || kind == record.RunLease && b.over(size):
			b.full = b.full || ok
			return false
		case kind == record.RunPass || kind == record.RunSkip && b.dry:
			continue
		case b.dry:
			b.taken++
			return false
		}
		c.busy |= 1 << (o - c.base)
		left &^= 1 << (o - c.base)
		b.add(span{walk: i, kind: kind, was: wasDue, from: o, n: 1})
		if kind == record.RunLease {
			b.taken++
			b.bytes += int64(size)
		}
	}
	if left == 0 {
		b.d.unlist(&b.p.due, dueLink, id)
	}
	return !b.done(want)
}

// walkOf returns the walk of a queue, made now if there is none.
func (b *batch) walkOf(q *popQueue) (int, bool) {
	for i := range b.walks {
		if b.walks[i].q == q {
			return i, true
		}
	}
	at, ok := slices.BinarySearchFunc(b.req.Queues, q.id, func(s QueueState, id ident.Queue) int {
		return cmp.Compare(s.ID, id)
	})
	if !ok {
		return 0, false
	}
	ahead := max(q.next, b.sight.holds[q.id].next)
	b.walks = append(b.walks, walk{
		state: b.req.Queues[at], q: q, known: q.next, ahead: ahead, cover: ahead,
		held: b.sight.holds[q.id], read: postsReadMin, spent: true,
	})
	return len(b.walks) - 1, true
}
