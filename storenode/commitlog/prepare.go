// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/storenode/disk"
)

var zeros [zeroWriteBytes]byte

// errPrepareSync marks a sync that failed while preparing. Whatever its cause,
// it may have swallowed the failure of appended bytes in the same file.
var errPrepareSync = errors.New("sync of prepared blocks")

// Run prepares blocks ahead of the end, makes the next segment before it is
// needed, keeps the spare, recycles trimmed segments and watches the free space.
// It returns nil when ctx ends, and the log's failure when it fails. One Run at
// a time.
func (l *Log) Run(ctx context.Context) error {
	ticker := time.NewTicker(spaceEvery)
	defer ticker.Stop()
	pace := time.NewTimer(0)
	defer pace.Stop()
	for {
		more, err := l.step()
		if err != nil {
			return err
		}
		var paced <-chan time.Time
		if more {
			pace.Reset(l.pause())
			paced = pace.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.dead:
			return l.usable()
		case <-paced:
		case <-l.wake:
		case <-ticker.C:
			l.readSpace()
			l.retryFull()
		}
	}
}

// pause is how long preparation rests after a step: not at all when appends
// have used up half of what is to be ready.
func (l *Log) pause() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.aheadLocked() < l.o.PrepareBytes/2 {
		return 0
	}
	return time.Second * time.Duration(min(l.o.PrepareBytes, prepareStepBytes)) / prepareBytesPerSecond
}

func (l *Log) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// prepareLow is the distance between end and the last prepared block at which
// preparation goes on.
func (l *Log) prepareLow() int64 { return l.o.PrepareBytes - min(prepareStepBytes, l.o.PrepareBytes/4) }

// lowLocked says whether blocks must be prepared, for what comes or for who
// waits.
func (l *Log) lowLocked() bool {
	return l.aheadLocked() <= l.prepareLow() || l.preparedLocked() < l.wanted
}

// aheadLocked is how many prepared bytes stand ready, in the active segment and
// the next one.
func (l *Log) aheadLocked() int64 {
	var n int64
	if l.next != nil {
		n = l.next.prepared
	}
	if !l.sealed {
		n += l.active().prepared - l.usedLocked()
	}
	return n
}

// step does one piece of background work and says whether there may be more.
func (l *Log) step() (more bool, err error) {
	if err := l.usable(); err != nil {
		return false, err
	}
	if did, err := l.recycle(); did || err != nil {
		return did, err
	}
	a, upTo, err := l.choose()
	if a == nil || err != nil {
		return false, err
	}
	if err := l.zero(a, upTo); err != nil {
		return false, l.prepareFailed(err)
	}
	l.readSpace() // what was just taken may have been the last to spare
	l.setFull(false)
	return true, nil
}

// choose finds the area to prepare and up to where; nil when all is ready, or
// the disk was found full and it is not time to try again.
func (l *Log) choose() (a *area, upTo int64, err error) {
	l.mu.Lock()
	if l.space.Full && !l.retry {
		l.mu.Unlock()
		return nil, 0, nil
	}
	l.retry = false
	low := l.lowLocked()
	active, next, spare := l.active().area, l.next, l.spare
	fillActive := !l.sealed && active.prepared < active.capacity
	l.mu.Unlock()
	switch {
	case low && fillActive:
		a = active
	case low && next == nil:
		return l.makeNext()
	case low && next.prepared < next.capacity:
		a = next
	case spare == nil:
		return l.makeSpare()
	case spare.prepared < l.reserveBytes():
		return spare, min(spare.prepared+prepareStepBytes, l.reserveBytes()), nil
	default:
		l.setFull(false)
		return nil, 0, nil
	}
	return a, min(a.prepared+prepareStepBytes, a.capacity), nil
}

// makeNext chooses the file of the next segment.
func (l *Log) makeNext() (*area, int64, error) {
	a, name, err := l.takeArea()
	if err != nil {
		return nil, 0, l.prepareFailed(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next, l.nextName = a, name
	l.progressLocked()
	return a, min(a.prepared+prepareStepBytes, a.capacity), nil
}

func (l *Log) makeSpare() (*area, int64, error) {
	f, err := l.o.FS.Open(l.reserveName(), disk.Create)
	if err != nil {
		return nil, 0, l.prepareFailed(err)
	}
	a := &area{f: f, capacity: l.o.SegmentBytes, reserve: true}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spare = a
	return a, min(prepareStepBytes, l.reserveBytes()), nil
}

// prepareFailed takes a lack of space, found by a write or a create, and nothing
// else, for something that passes.
func (l *Log) prepareFailed(err error) error {
	if errors.Is(err, syscall.ENOSPC) && !errors.Is(err, errPrepareSync) {
		l.setFull(true)
		return nil
	}
	return l.fail("Run", err)
}

// takeArea returns a file for a new segment: a retired one if there is one.
func (l *Log) takeArea() (*area, string, error) {
	l.mu.Lock()
	if n := len(l.pool); n > 0 {
		p := l.pool[n-1]
		l.pool = l.pool[:n-1]
		l.mu.Unlock()
		return &area{f: p.f, capacity: l.o.SegmentBytes, prepared: l.o.SegmentBytes}, p.name, nil
	}
	name := l.poolNameLocked()
	l.mu.Unlock()
	f, err := l.o.FS.Open(name, disk.Create)
	if err != nil {
		return nil, "", err
	}
	return &area{f: f, capacity: l.o.SegmentBytes}, name, nil
}

// zero prepares the area up to that many log bytes, durably.
func (l *Log) zero(a *area, upTo int64) error {
	from := a.prepared // only this goroutine changes it
	if from >= upTo {
		return nil
	}
	off := HeaderBytes + from
	if from == 0 {
		off = 0
	}
	for end := HeaderBytes + upTo; off < end; {
		n, err := a.f.WriteAt(zeros[:min(int64(len(zeros)), end-off)], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	if err := syncFile(a.f); err != nil {
		return fmt.Errorf("%w: %w", errPrepareSync, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a.prepared = upTo
	l.progressLocked()
	return nil
}

func (l *Log) progressLocked() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// WaitPrepared returns when Append takes n bytes without waiting, or as many as
// the active segment has room for; with fault.DiskFull when the disk is too full
// for that.
func (l *Log) WaitPrepared(ctx context.Context, n int64) error {
	for {
		l.mu.Lock()
		want := min(n, l.roomLocked())
		if l.preparedLocked() >= want {
			l.mu.Unlock()
			return nil
		}
		_, wait, err := l.stuckLocked(want)
		l.mu.Unlock()
		if err != nil {
			return err
		}
		l.nudge()
		select {
		case <-wait:
		case <-l.dead:
			return l.usable()
		case <-ctx.Done():
			return fault.E("commitlog.WaitPrepared", fault.Canceled, ctx.Err())
		}
	}
}

// Space says how the disk stands.
func (l *Log) Space() Space {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.space
	s.InnerBytes = math.MaxInt64
	if s.Full {
		s.InnerBytes = l.innerLocked()
	}
	return s
}

// innerLocked is Space.InnerBytes on a full disk.
func (l *Log) innerLocked() int64 {
	n := l.preparedLocked()
	if a := l.active(); a.reserve && !l.sealed {
		n = max(0, n-l.vital())
	}
	if l.next != nil && !l.sealed {
		n += max(0, l.next.prepared-SealReserve)
	}
	if l.spare != nil {
		n += max(0, l.spare.prepared-SealReserve-l.vital())
	}
	return n
}

// readSpace updates the free space, and Low with its hysteresis.
func (l *Log) readSpace() {
	free, total, err := l.o.FreeBytes()
	if err != nil {
		l.o.Logger.Warn("free space unknown", slog.String("dir", l.o.Dir), slog.Any("error", err))
		return
	}
	l.mu.Lock()
	was := l.space.Low
	l.space.FreeBytes, l.space.TotalBytes = free, total
	switch {
	case free < l.o.MinFreeBytes:
		l.space.Low = true
	case free >= l.o.MinFreeBytes+l.o.MinFreeBytes/5:
		l.space.Low = false
	}
	low, needed := l.space.Low, l.o.MinFreeBytes
	if low {
		needed += needed / 5
	}
	l.space.NeededBytes = needed
	l.mu.Unlock()
	if low != was {
		l.o.Logger.Warn("free disk space", slog.String("dir", l.o.Dir), slog.Bool("low", low),
			slog.Int64("free_bytes", free), slog.Int64("needed_bytes", needed))
	}
}

func (l *Log) setFull(full bool) {
	l.mu.Lock()
	changed := l.space.Full != full
	if changed {
		l.space.Full = full
		l.progressLocked()
	}
	l.mu.Unlock()
	if changed {
		l.o.Logger.Warn("preparing blocks", slog.String("dir", l.o.Dir), slog.Bool("full", full))
	}
}

// retryFull lets the next step try a full disk again.
func (l *Log) retryFull() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retry = true
}

// reserveBytes is how much of the spare is prepared. The segment that is made of
// it grows like any other when there is space again.
func (l *Log) reserveBytes() int64 { return min(l.o.SegmentBytes, reserveBytesMax) }

func (l *Log) vital() int64 { return min(vitalBytes, l.reserveBytes()/4) }

func (l *Log) reserveName() string { return filepath.Join(l.o.Dir, reserveName) }

func (l *Log) poolNameLocked() string {
	l.poolSeq++
	return filepath.Join(l.o.Dir, fmt.Sprintf("%08d%s", l.poolSeq, poolSuffix))
}

func poolNumber(name string) (int, bool) {
	n, err := strconv.Atoi(strings.TrimSuffix(name, poolSuffix))
	return n, err == nil
}
