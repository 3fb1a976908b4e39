// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"math/bits"
	"sort"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

const (
	// postsReadMin and postsReadMax bound one read of postings: small at first,
	// since most messages match, then doubling for rare matches.
	postsReadMin = 16
	postsReadMax = 256
)

// seek moves the walk on to the next offset that the request may have and
// returns its size. Offsets that nobody wants it turns into skips on its way.
func (b *batch) seek(i int, w *walk) (size uint32, ok bool) {
	for b.candidate(w) {
		kind, n, size, ok := record.RunSkip, w.trimmed(), uint32(0), true
		if n == 0 {
			n = 1
			kind, size, ok = b.judge(i, w.at)
		}
		switch {
		case !ok:
			return 0, false
		case kind == record.RunLease:
			return size, true
		case kind == record.RunSkip && !b.skip(i, w, n):
			return 0, false
		}
		w.at += n
	}
	return 0, false
}

// trimmed is how many offsets from w.at on retention took before the state knew
// that somebody reads the queue: a first grant was on its way just then.
func (w *walk) trimmed() uint64 {
	minimum := uint64(w.state.Min)
	switch {
	case w.at >= minimum:
		return 0
	case w.at < w.known:
		return 1 // the next one need not be available
	}
	return minimum - w.at
}

// skip makes n offsets done, or remembers that it could.
func (b *batch) skip(i int, w *walk, n uint64) bool {
	if b.dry {
		if !w.pos.skip || w.at < w.pos.skipAt {
			w.pos.skip, w.pos.skipAt = true, w.at
		}
		return true
	}
	was := wasFresh
	if w.at < w.known {
		was = wasAvailable
	}
	return b.emit(i, w, span{walk: i, kind: record.RunSkip, was: was, from: w.at, n: n})
}

// candidate moves the walk on to the next offset, itself included, that is
// available or fresh and not promised.
func (b *batch) candidate(w *walk) bool {
	if w.at < w.known {
		if w.q != nil && b.available(w) {
			return true
		}
		w.at = w.known
	}
	w.at = max(w.at, w.ahead)
	return w.at < uint64(w.state.Next)
}

func (b *batch) available(w *walk) bool {
	chunks := w.q.chunks
	if w.place == 0 {
		no := w.at >> chunkBits
		w.place = sort.Search(len(chunks), func(k int) bool { return chunks[k].no >= no })
	}
	for ; w.place < len(chunks); w.place++ {
		if chunks[w.place].id == 0 {
			continue
		}
		c := b.d.chunks.at(chunks[w.place].id)
		if m := c.free(w.known) &^ c.busy &^ c.below(w.at); m != 0 {
			w.at = c.base + uint64(bits.TrailingZeros64(m)) //nolint:gosec // 0…63
			return true
		}
	}
	return false
}

// judge says what the request does with offset o of walk i; false when its
// posting is not at hand or the scan is at its limit.
func (b *batch) judge(i int, o uint64) (record.RunKind, uint32, bool) {
	if !b.selective() || b.req.Postings == nil {
		return record.RunLease, 0, true
	}
	p, ok := b.posting(i, o)
	wanted := ok && b.req.Filter.Wants(p.TagHash)
	switch {
	case !ok:
		return 0, 0, false
	case wanted && !b.differs(i, o):
		return record.RunLease, p.Bytes, true
	case !wanted && b.req.Audience.MaySkip && !b.req.Audience.Wants(p.TagHash):
		return record.RunSkip, p.Bytes, true
	}
	return record.RunPass, p.Bytes, true
}

// differs reports whether the filter is known to want only the hash of the tag.
func (b *batch) differs(i int, o uint64) bool {
	if len(b.sight.differing) == 0 {
		return false
	}
	_, ok := b.sight.differing[differKey{b.req.Filter.key, b.walks[i].state.ID, o}]
	return ok
}

func (b *batch) posting(i int, o uint64) (Posting, bool) {
	if b.postWalk != i || o < b.postFrom || o-b.postFrom >= uint64(len(b.posts)) {
		if !b.readPostings(i, o) {
			return Posting{}, false
		}
	}
	return b.posts[o-b.postFrom], true
}

func (b *batch) readPostings(i int, o uint64) bool {
	if b.budget <= 0 {
		b.more = true
		return false
	}
	w := &b.walks[i]
	n := min(w.read, b.budget)
	if end := uint64(w.state.Next); o >= end {
		n = 1 // a lease of a message whose posting the caller must have
	} else if left := end - o; left < uint64(n) { //nolint:gosec // small
		n = int(left) //nolint:gosec // below n
	}
	w.read = min(2*w.read, postsReadMax)
	if cap(b.posts) < postsReadMax {
		b.posts = make([]Posting, 0, postsReadMax)
	}
	b.posts = b.posts[:n]
	n = b.req.Postings(w.state.ID, ident.Offset(o), b.posts)
	b.posts = b.posts[:n]
	b.postWalk, b.postFrom = i, o
	b.budget -= n
	return n > 0
}
