// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

// ring holds the newest bytes of the log in memory that the garbage collector
// does not know of. Byte lsn stands at lsn mod its size.
//
// One writer, any number of readers. [low, high) may be read under mu.RLock.
// The writer first moves low up, under mu.Lock, which waits for readers of what
// it is about to overwrite; then it copies without the lock; then it moves high.
type ring struct {
	buf  []byte
	low  atomic.Uint64
	high atomic.Uint64
	mu   sync.RWMutex
}

// newRing maps size bytes, rounded up to pages.
func newRing(size int64) (*ring, error) {
	const pageBytes = 4096
	n := int((size + pageBytes - 1) / pageBytes * pageBytes)
	buf, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, err
	}
	return &ring{buf: buf}, nil
}

// reset empties the ring; the next byte put will be that of lsn.
func (r *ring) reset(lsn ident.LSN) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.low.Store(uint64(lsn))
	r.high.Store(uint64(lsn))
}

// put appends b, which stands at lsn, the ring's high end.
func (r *ring) put(b []byte, lsn ident.LSN) {
	if r == nil {
		return
	}
	size := len(r.buf)
	if cut := len(b) - size; cut > 0 {
		b, lsn = b[cut:], lsn+ident.LSN(cut)
	}
	end := uint64(lsn) + uint64(len(b))
	if low := end - min(end, uint64(size)); low > r.low.Load() {
		r.mu.Lock()
		r.low.Store(low)
		r.mu.Unlock()
	}
	at := int(uint64(lsn) % uint64(size)) //nolint:gosec // below size
	n := copy(r.buf[at:], b)
	copy(r.buf, b[n:])
	r.high.Store(end)
}

// entry copies the whole entry at lsn, with its padding, into buf, which it
// grows if need be. ok is false when the ring does not hold the entry.
func (r *ring) entry(buf []byte, lsn ident.LSN) (out []byte, n int, ok bool) {
	if r == nil {
		return buf, 0, false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	high := r.high.Load()
	if r.buf == nil || uint64(lsn) < r.low.Load() || uint64(lsn) >= high || lsn%record.Align != 0 {
		return buf, 0, false
	}
	at := int(uint64(lsn) % uint64(len(r.buf))) //nolint:gosec // below size
	size, err := record.PeekLen(r.buf[at:])     // aligned, so the length does not wrap
	n = record.Padded(size)
	if err != nil || uint64(n) > high-uint64(lsn) { //nolint:gosec // a length
		return buf, 0, false
	}
	if n > len(buf) {
		buf = make([]byte, n)
	}
	head := copy(buf[:n], r.buf[at:])
	copy(buf[head:n], r.buf)
	return buf, n, true
}

// close unmaps the ring once no reader is in it.
func (r *ring) close() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buf == nil {
		return nil
	}
	buf := r.buf
	r.buf = nil
	return unix.Munmap(buf)
}
