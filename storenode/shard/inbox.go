// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"sync"

	"github.com/mansiomq/mansio/internal/storeapi"
)

// inboxMax bounds the operations that wait for the owner goroutine. Peers bound
// theirs at storeapi.OpsMax each; a shard serves a few of them.
const inboxMax = 8 * storeapi.OpsMax

// inbox hands operations to the owner goroutine. Many put, one takes, and takes
// all that is there: one wake-up serves everything that came meanwhile.
type inbox struct {
	mu struct {
		sync.Mutex
		ops     []*storeapi.Op
		refusal storeapi.Code // of everything; OK: the inbox is open
	}
	wake chan struct{} // capacity 1
}

// newInbox makes an inbox that is not open yet: nobody leads before recovery is
// over, and whoever asks is told at once.
func newInbox() *inbox {
	b := &inbox{wake: make(chan struct{}, 1)}
	b.mu.refusal = storeapi.NotLeader
	return b
}

// open has the inbox take operations.
func (b *inbox) open() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.refusal = storeapi.OK
}

// put queues as many of ops as there is room for and answers how many; the rest
// is the caller's to refuse, with the code. Before open and after close it takes
// none.
func (b *inbox) put(ops []*storeapi.Op) (taken int, refusal storeapi.Code) {
	b.mu.Lock()
	refusal = b.mu.refusal
	if refusal == storeapi.OK {
		taken = min(len(ops), inboxMax-len(b.mu.ops))
		b.mu.ops = append(b.mu.ops, ops[:taken]...)
		refusal = storeapi.Overloaded
	}
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return taken, refusal
}

// take swaps the queue for an empty one whose memory is spare.
func (b *inbox) take(spare []*storeapi.Op) []*storeapi.Op {
	b.mu.Lock()
	defer b.mu.Unlock()
	ops := b.mu.ops
	b.mu.ops = spare[:0]
	return ops
}

// close refuses everything from now on and returns what still waits.
func (b *inbox) close() []*storeapi.Op {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.refusal = storeapi.Unavailable
	ops := b.mu.ops
	b.mu.ops = nil
	return ops
}
