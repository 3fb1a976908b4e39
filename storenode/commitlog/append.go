// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"io"
	"log/slog"
	"time"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/invariant"
	"github.com/mansiomq/mansio/storenode/record"
)

// Append is AppendAs for a block that holds entries from clients.
func (l *Log) Append(block []byte, last record.Header) error {
	return l.AppendAs(UseClient, block, last)
}

// AppendAs writes whole, padded entries that begin exactly at End and continue
// the chain; last is the header of the last one. Only prepared blocks are
// written, with one pwrite, and nothing is synced. If too few are prepared it
// waits for Run, at most 10 s.
//
// After a Seal the block opens the next segment. The block must fit in Room.
//
// fault.DiskFull: no block could be prepared for this use; nothing was written
// and the same call may succeed later. fault.Unavailable: preparing takes too
// long; nothing was written. Any other error is fatal for the log.
//
// Calls must not overlap. The block may be reused when the call returns.
func (l *Log) AppendAs(use Use, block []byte, last record.Header) error {
	if err := l.usable(); err != nil {
		return err
	}
	end := l.End()
	l.checkBlock(block, &last, end)
	need := int64(len(block))
	if last.Type != record.TypeSeal {
		need += SealReserve
	}
	if err := l.makeRoom(use, need); err != nil {
		return err
	}
	seg := l.active()
	if n, err := seg.f.WriteAt(block, seg.offset(end)); err != nil {
		return l.fail("Append", err)
	} else if n != len(block) {
		return l.fail("Append", io.ErrShortWrite)
	}
	if end == seg.base {
		seg.firstTimeMS.Store(leTime(block))
	}
	l.ring.put(block, end)
	l.publish(block, &last)
	return nil
}

// checkBlock asserts what the caller promises. The conditions stand outside of
// the checks: boxing their operands would cost an allocation each.
func (l *Log) checkBlock(block []byte, last *record.Header, end ident.LSN) {
	if len(block) < record.HeaderSize || len(block)%record.Align != 0 {
		invariant.Check(false, "block of %d bytes", len(block))
	}
	if leLSN(block) != end || last.End() != end+ident.LSN(len(block)) {
		invariant.Check(false, "block [%d, %d) of %d bytes behind LSN %d", leLSN(block), last.End(), len(block), end)
	}
	if lePrevCRC(block) != l.tail.CRC {
		invariant.Check(false, "block continues CRC %08x, the log ends with %08x", lePrevCRC(block), l.tail.CRC)
	}
	if leTerm(block) < l.tail.Term || last.Term < leTerm(block) || leTime(block) < l.tail.TimeMS || last.TimeMS < leTime(block) {
		invariant.Check(false, "block of terms %d…%d and times %d…%d behind term %d, time %d",
			leTerm(block), last.Term, leTime(block), last.TimeMS, l.tail.Term, l.tail.TimeMS)
	}
}

func (l *Log) active() *segment {
	list := *l.segs.Load()
	return list[len(list)-1]
}

// publish makes the block part of the log.
func (l *Log) publish(block []byte, last *record.Header) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last.Term != l.tail.Term {
		for off := 0; off < len(block); off += lePadded(block[off:]) {
			l.tail.begin(leTerm(block[off:]), leLSN(block[off:]))
		}
	}
	l.tail.CRC, l.tail.Term, l.tail.TimeMS = last.CRC, last.Term, last.TimeMS
	l.sealed = last.Type == record.TypeSeal
	l.tail.Sealed = l.sealed
	l.wanted = 0
	l.end.Store(uint64(last.End()))
	if l.aheadLocked() <= l.prepareLow() {
		l.nudge()
	}
}

// Room is how many bytes of entries the active segment takes before it must be
// sealed; the Seal entry's own bytes are not counted. On a full disk it counts
// prepared blocks only, so that sealing lets the log go on in another file.
// After a Seal it speaks of the segment to come.
func (l *Log) Room() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.roomLocked()
}

func (l *Log) roomLocked() int64 {
	if l.sealed {
		return l.o.SegmentBytes - SealReserve
	}
	seg := l.active()
	limit := seg.capacity
	if l.space.Full {
		limit = seg.prepared
	}
	return max(0, limit-l.usedLocked()-SealReserve)
}

// Limit is the LSN that the entries of the segment that begins at base may
// reach, room for the Seal left behind it; base is that of the newest segment or
// of the one that will follow its Seal. A sequencer that runs ahead of Append
// seals where the next entry would pass it. On a full disk it shrinks to what is
// prepared, so that the log can go on in the next file or the spare.
func (l *Log) Limit(base ident.LSN) ident.LSN {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := l.o.SegmentBytes
	switch seg := l.active(); {
	case seg.base == base && l.space.Full:
		limit = seg.prepared
	case seg.base == base:
		limit = seg.capacity
	case l.space.Full && l.spare != nil:
		limit = l.spare.prepared
	case l.space.Full && l.next != nil:
		limit = l.next.prepared
	}
	return base + ident.LSN(max(0, limit-SealReserve))
}

// usedLocked is how many log bytes the active segment holds.
func (l *Log) usedLocked() int64 { return int64(l.End() - l.active().base) } //nolint:gosec // below a file's size

// Prepared is how many bytes Append takes now without waiting for Run.
func (l *Log) Prepared() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.preparedLocked()
}

func (l *Log) preparedLocked() int64 {
	if l.sealed {
		if l.next == nil {
			return 0
		}
		return max(0, l.next.prepared-SealReserve)
	}
	return max(0, l.active().prepared-l.usedLocked()-SealReserve)
}

// makeRoom returns when need bytes, a Seal's room included, can be written at
// End; it opens the next segment if the last entry is a Seal.
func (l *Log) makeRoom(use Use, need int64) error {
	done, wait, err := l.tryRoom(use, need)
	if done || err != nil {
		return err
	}
	l.o.Logger.Warn("append waits for prepared blocks", slog.String("dir", l.o.Dir))
	timeout := time.NewTimer(prepareWaitMax)
	defer timeout.Stop()
	for !done {
		l.nudge()
		select {
		case <-wait:
		case <-l.dead:
			return l.usable()
		case <-timeout.C:
			return fault.Errorf("commitlog.Append", fault.Unavailable, "no block was prepared within %v", prepareWaitMax)
		}
		if done, wait, err = l.tryRoom(use, need); err != nil {
			return err
		}
	}
	return nil
}

// tryRoom is one attempt of makeRoom. When it is not done, wait is closed at
// the next progress of preparation.
func (l *Log) tryRoom(use Use, need int64) (done bool, wait <-chan struct{}, err error) {
	l.mu.Lock()
	if l.sealed {
		a, name := l.pickNextLocked(use, need)
		if a == nil {
			defer l.mu.Unlock()
			return l.stuckLocked(need)
		}
		l.mu.Unlock()
		return true, nil, l.roll(a, name)
	}
	defer l.mu.Unlock()
	seg := l.active()
	used := l.usedLocked()
	if used+need > seg.capacity {
		invariant.Check(false, "block of %d bytes behind %d in a segment of %d", need, used, seg.capacity)
	}
	limit := seg.prepared
	if seg.reserve && l.space.Full {
		switch use {
		case UseClient:
			limit = 0
		case UseInner:
			limit -= l.vital()
		case UseVital:
		}
	}
	if used+need <= limit {
		return true, nil, nil
	}
	return l.stuckLocked(need)
}

func (l *Log) stuckLocked(need int64) (bool, <-chan struct{}, error) {
	if l.space.Full {
		return false, nil, fault.Errorf("commitlog.Append", fault.DiskFull, "no block can be prepared, %d bytes free",
			l.space.FreeBytes)
	}
	l.wanted = max(l.wanted, need)
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return false, l.changed, nil
}

// pickNextLocked takes the file of the next segment: the one that was prepared
// for it, or on a full disk the spare.
func (l *Log) pickNextLocked(use Use, need int64) (*area, string) {
	if a := l.next; a != nil && a.prepared >= need {
		name := l.nextName
		l.next, l.nextName = nil, ""
		return a, name
	}
	limit := int64(0)
	if a := l.spare; a != nil && l.space.Full {
		switch use {
		case UseClient:
		case UseInner:
			limit = a.prepared - l.vital()
		case UseVital:
			limit = a.prepared
		}
		if need <= limit {
			l.spare = nil
			return a, l.reserveName()
		}
	}
	return nil, ""
}

// roll opens the next segment at End in the area.
func (l *Log) roll(a *area, name string) error {
	s, err := l.christen(a, name, l.End(), l.tail)
	if err != nil {
		return l.fail("Append", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	list := append(append(segments(nil), *l.segs.Load()...), s)
	l.segs.Store(&list)
	l.sealed = false
	l.nudge()
	return nil
}

// Sync makes everything durable that was appended before the call. It may run
// while Append writes later bytes. An error is fatal: the log refuses to be
// written from then on, and the file is never synced again.
func (l *Log) Sync() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	l.mu.Lock()
	end, list, named := l.End(), *l.segs.Load(), l.renamed > l.dirSynced
	l.mu.Unlock()
	synced := l.Synced()
	if synced == end {
		return nil
	}
	for i, s := range list {
		if list.limit(i, end) <= synced && i+1 < len(list) {
			continue
		}
		if err := s.sync(); err != nil {
			return l.fail("Sync", err)
		}
	}
	if named {
		if err := l.syncDir(); err != nil {
			return l.fail("Sync", err)
		}
	}
	l.synced.Store(uint64(end))
	return nil
}
