// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// receiveBytesMax bounds the bytes of messages on their way to clients;
	// takeBytesMax and takeBytesMin those that one receive asks for, if no message
	// is larger.
	receiveBytesMax = 64 << 20
	takeBytesMax    = 4 << 20
	takeBytesMin    = 256 << 10
)

// budget bounds the bytes of messages on their way to clients. A receive reserves
// what it is about to ask for, and sets that right when it knows what it got.
type budget struct {
	max  int64
	room *semaphore.Weighted
	used atomic.Int64
	// large is about the bytes of the largest batches of late. Where messages are
	// small many receives may ask at once; where they are large few do, since more
	// would lease what there is no room for.
	large atomic.Int64
}

func newBudget(limit int64) *budget {
	b := &budget{max: limit, room: semaphore.NewWeighted(limit)}
	b.large.Store(takeBytesMin)
	return b
}

// reserve takes a share of the bytes and waits for it, but not for longer than
// that. 0: there is no room.
func (b *budget) reserve(ctx context.Context, atMost time.Duration) int64 {
	large := b.large.Load()
	share := min((b.max-b.used.Load())/8, 2*large, takeBytesMax)
	share = min(max(share, large, takeBytesMin), b.max)
	if !b.room.TryAcquire(share) {
		ctx, cancel := context.WithTimeout(ctx, atMost)
		defer cancel()
		if b.room.Acquire(ctx, share) != nil {
			return 0
		}
	}
	b.used.Add(share)
	return share
}

// correct replaces what is reserved by what is there, and returns what counts from
// now on. False: there is no room for so much, and the reserve stays as it is. A
// batch that is larger than all of the budget counts as all of it.
func (b *budget) correct(reserved, size int64) (int64, bool) {
	large := b.large.Load()
	b.large.Store(max(size, large-large/16))
	size = min(size, b.max)
	if size <= reserved {
		b.release(reserved - size)
		return size, true
	}
	if !b.room.TryAcquire(size - reserved) {
		return reserved, false
	}
	b.used.Add(size - reserved)
	return size, true
}

func (b *budget) release(n int64) {
	b.used.Add(-n)
	b.room.Release(n)
}
