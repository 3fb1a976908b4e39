// SPDX-License-Identifier: Apache-2.0

package sealed

import (
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/invariant"
)

// Segment is the part of the log that a run was made from.
type Segment struct{ Base, End ident.LSN }

// Run is anything made from one sealed segment.
type Run interface{ Segment() Segment }

// Archive is the runs of a shard, oldest first. The zero value is empty. All
// methods may be called concurrently.
type Archive[R Run] struct {
	mu   sync.Mutex // serialises writers
	runs atomic.Pointer[[]R]
}

// Snapshot returns the runs, oldest first. It is shared and must not be changed.
func (a *Archive[R]) Snapshot() []R {
	if p := a.runs.Load(); p != nil {
		return *p
	}
	return nil
}

// Insert adds a run where it belongs. There must be none of its segment.
func (a *Archive[R]) Insert(r R) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.Snapshot()
	seg := r.Segment()
	i, found := slices.BinarySearchFunc(old, seg.Base, compareBase[R])
	free := !found && (i == 0 || old[i-1].Segment().End <= seg.Base) &&
		(i == len(old) || seg.End <= old[i].Segment().Base)
	invariant.Check(free, "sealed: run of [%d, %d) overlaps another", seg.Base, seg.End)
	runs := slices.Insert(slices.Clone(old), i, r)
	a.runs.Store(&runs)
}

func compareBase[R Run](r R, base ident.LSN) int {
	switch b := r.Segment().Base; {
	case b < base:
		return -1
	case b > base:
		return 1
	}
	return 0
}

// Replace puts r in the place of the run of the same segment and returns that
// one; false, and no change, when there is none: it was retired meanwhile.
func (a *Archive[R]) Replace(r R) (old R, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.Snapshot()
	i, found := slices.BinarySearchFunc(all, r.Segment().Base, compareBase[R])
	if !found {
		return old, false
	}
	invariant.Check(all[i].Segment() == r.Segment(), "sealed: run of %v in place of %v", r.Segment(), all[i].Segment())
	runs := slices.Clone(all)
	old, runs[i] = runs[i], r
	a.runs.Store(&runs)
	return old, true
}

// Retire removes the runs that end at or below newStart, closes those that have
// a file, and returns them, oldest first. Closing waits for reads that are under
// way; a reader that comes later with an old snapshot is told fault.NotFound by
// the run.
func (a *Archive[R]) Retire(newStart ident.LSN) []R {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.Snapshot()
	n := 0
	for n < len(all) && all[n].Segment().End <= newStart {
		n++
	}
	runs := slices.Clone(all[n:])
	a.runs.Store(&runs)
	for _, r := range all[:n] {
		closeRun(r)
	}
	return all[:n:n]
}

// Close closes all runs that have a file and empties the archive.
func (a *Archive[R]) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.Snapshot() {
		closeRun(r)
	}
	a.runs.Store(nil)
}

// closeRun closes a run's file. It was only read: closing it cannot lose
// anything, so an error has nothing to tell.
func closeRun[R Run](r R) {
	if c, ok := any(r).(io.Closer); ok {
		_ = c.Close()
	}
}
