// SPDX-License-Identifier: Apache-2.0

package route

import (
	"sync"

	"github.com/mansiomq/mansio/internal/invariant"
	"github.com/mansiomq/mansio/internal/storeapi"
)

// window hands out the sequence numbers of one shard, from 1 upward.
type window struct {
	mu struct {
		sync.Mutex
		next   uint64 // guarded; the next number, minus 1
		oldest uint64 // guarded; below or equal: out of use
		free   [storeapi.SeqWindow / 64]uint64
	}
}

// reserve returns the first of n consecutive numbers, or false when they would
// run too far ahead of the oldest in use.
func (w *window) reserve(n int) (first uint64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.mu.next + uint64(n) //nolint:gosec // a count
	if last-w.mu.oldest > storeapi.SeqWindow {
		return 0, false
	}
	first = w.mu.next + 1
	w.mu.next = last
	return first, true
}

// release ends the use of n consecutive numbers.
func (w *window) release(first uint64, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for seq := first; seq < first+uint64(n); seq++ { //nolint:gosec // a count
		slot, bit := seq%storeapi.SeqWindow/64, uint64(1)<<(seq%64)
		if inUse := seq > w.mu.oldest && seq <= w.mu.next && w.mu.free[slot]&bit == 0; !inUse {
			invariant.Check(false, "sequence number %d is not in use (%d, %d]", seq, w.mu.oldest, w.mu.next)
		}
		w.mu.free[slot] |= bit
	}
	for w.mu.oldest < w.mu.next {
		seq := w.mu.oldest + 1
		slot, bit := seq%storeapi.SeqWindow/64, uint64(1)<<(seq%64)
		if w.mu.free[slot]&bit == 0 {
			return
		}
		w.mu.free[slot] &^= bit
		w.mu.oldest = seq
	}
}
