// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
)

// Trim makes newStart, the base of a segment that holds a durable entry, the
// oldest LSN. The segments below
// it can no longer be read when Trim returns; Run gives their files to the pool
// or removes them, oldest first, so that a crash never leaves a hole. Whatever
// points into them (indexes, checkpoints) must be gone before. Trimming to
// where the log starts already, or below, does nothing.
func (l *Log) Trim(newStart ident.LSN) error {
	if err := l.usable(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if newStart <= l.Start() {
		return nil
	}
	list := *l.segs.Load()
	i := list.find(newStart)
	if i < 0 || list[i].base != newStart || newStart >= l.Synced() {
		return fault.Errorf("commitlog.Trim", fault.Invalid, "LSN %d is not the base of a segment with durable entries", newStart)
	}
	keep := append(segments(nil), list[i:]...)
	l.segs.Store(&keep)
	l.start.Store(uint64(newStart))
	l.retired = append(l.retired, list[:i]...)
	l.nudge()
	return nil
}

// recycle takes the oldest trimmed segment out of the folder, durably, before
// the next one is touched.
func (l *Log) recycle() (did bool, err error) {
	l.mu.Lock()
	if len(l.retired) == 0 {
		l.mu.Unlock()
		return false, nil
	}
	s := l.retired[0]
	l.retired = l.retired[1:]
	reuse := len(l.pool) < poolMax && s.capacity == l.o.SegmentBytes && s.prepared == s.capacity && !l.space.Low
	poolName := ""
	if reuse {
		poolName = l.poolNameLocked()
	}
	l.mu.Unlock()
	if err := l.discard(s, poolName); err != nil {
		return false, l.fail("Run", err)
	}
	return true, nil
}

// discard waits for the readers of a segment that nobody can find any more, and
// turns it into a pool file of that name, or removes it.
func (l *Log) discard(s *segment, poolName string) error {
	name := segmentName(l.o.Dir, s.base)
	l.o.Logger.Info("segment retired", slog.String("file", filepath.Base(name)), slog.Bool("recycled", poolName != ""))
	if poolName == "" {
		return errors.Join(s.close(), l.o.FS.Remove(name), l.o.FS.SyncDir(l.o.Dir))
	}
	s.mu.Lock()
	s.gone = true
	s.mu.Unlock()
	if err := l.o.FS.Rename(name, poolName); err != nil {
		return errors.Join(err, s.f.Close())
	}
	l.mu.Lock()
	l.pool = append(l.pool, pooled{poolName, s.f})
	l.mu.Unlock()
	return l.o.FS.SyncDir(l.o.Dir)
}
