// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"cmp"

	"github.com/mansiomq/mansio/storenode/record"
)

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
	rule := b.req.Start
	if b.p != nil {
		rule = b.p.start
	}
	if rule.Kind == record.StartEarliest || b.req.First == nil {
		return uint64(q.Min)
	}
	if b.sight.rule != rule {
		b.sight.rule = rule
		clear(b.sight.firsts)
	}
	first, known := b.sight.firsts[q.ID]
	if !known {
		var final bool
		if first, final = b.req.First(q.ID, rule); final {
			b.sight.firsts[q.ID] = first
		}
	}
	return uint64(min(max(first, q.Min), max(q.Next, q.Min)))
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
		got += int(n)
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
	if sp.was != wasFresh {
		_, c := b.d.chunkOf(w.q, sp.from)
		c.busy |= c.below(sp.from+sp.n) &^ c.below(sp.from)
	} else {
		if !b.passTo(i, w, sp.from) {
			return false
		}
		w.cover = sp.from + sp.n
	}
	b.add(sp)
	return true
}

// passTo adds the pass from what the spans cover up to offset o.
func (b *batch) passTo(i int, w *walk, o uint64) bool {
	gap := o - w.cover
	if gap == 0 {
		return true
	}
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
	b.more = b.more || len(b.spans) >= spansMax
}
