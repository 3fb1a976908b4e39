// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/invariant"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

// RecoverOptions say what is known of the log from elsewhere.
type RecoverOptions struct {
	// From is where visiting begins: an entry boundary not below Start;
	// 0 = Start.
	From ident.LSN
	// At is the chain behind the entry before From. Without it the walk begins
	// at the base of From's segment; entries below From are checked, not visited.
	At *Tail
	// Floor is an LSN below which everything is known to have been durable. A bad
	// entry below it is corruption.
	Floor ident.LSN
	// Clean: Floor is where the log ended when it was closed in good order, so
	// nothing needs to be searched behind it.
	Clean bool
	// CutNotes name ranges that were cut off on purpose: entries found in them
	// prove nothing.
	CutNotes []CutNote
}

// CutNote is a range [From, To) of entries that were cut off on purpose, while
// their bytes may still be on the disk.
type CutNote struct{ From, To ident.LSN }

// Recovery is what Recover found.
type Recovery struct {
	Start, End     ident.LSN
	CutFrom, CutTo ident.LSN // the torn bytes; CutTo is the end of the last whole entry among them
	LastCRC        uint32
	LastTerm       ident.Term
	LastTimeMS     int64
	Entries        int // visited
	Torn           bool
}

// CorruptionError says that the log lost entries which had been durable. Nothing
// was changed on the disk.
type CorruptionError struct {
	LSN ident.LSN // the first entry that cannot be read
	// LostTo is the end of the last entry known to have existed: [LSN, LostTo) is
	// what AcceptLoss(LSN) gives up.
	LostTo ident.LSN
	Reason string
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("log corrupt at LSN %d, lost up to LSN %d: %s", e.LSN, e.LostTo, e.Reason)
}

// Recover finds the end of the log, makes everything below it durable, and
// opens the log for appending. visit is called for each entry from From on, in
// order; the entry is valid during the call. An error of visit ends Recover with
// that error.
//
// The walk ends at the first bytes that do not continue the chain, E. They are
// a torn tail, which is cut: a zero header at E, later segment files removed,
// all durably. They are corruption (*CorruptionError of kind fault.Corrupt) if
// they cannot be read, if E is below Floor, or if a whole entry behind E, outside
// the cut notes, says that the log was committed beyond E. Files that are missing
// between others, or too short, are corruption wherever they are. A log that
// failed so can be tried again, after AcceptLoss or a repair.
//
// The next entry to be appended must be of a higher term than LastTerm: a tail
// that was cut then can never be taken for a continuation.
func (l *Log) Recover(ctx context.Context, o RecoverOptions, visit func(*record.Entry) error) (Recovery, error) {
	l.mu.Lock()
	recovered := l.recovered
	l.mu.Unlock()
	invariant.Check(!recovered, "log recovered twice")
	if o.From == 0 {
		o.From = l.Start()
	}
	if o.From < l.Start() {
		return Recovery{}, fault.Errorf("commitlog.Recover", fault.NotFound, "LSN %d is below the log's start %d",
			o.From, l.Start())
	}
	r := recovery{l: l, o: o, list: *l.segs.Load()}
	if err := r.run(ctx, visit); err != nil {
		return Recovery{}, fault.E("commitlog.Recover", fault.Other, err)
	}
	return r.Recovery, nil
}

// recovery is one run of Recover.
type recovery struct {
	Recovery
	l    *Log
	o    RecoverOptions
	list segments
	last int // segment in which the log ends
	tail Tail
	bad  *damage // what the walk ended at
}

func (r *recovery) run(ctx context.Context, visit func(*record.Entry) error) error {
	r.Start = r.l.Start()
	if err := r.gap(ctx); err != nil {
		return err
	}
	if err := r.settleCache(); err != nil {
		return err
	}
	if err := r.walk(ctx, visit); err != nil {
		return err
	}
	return r.settle(ctx)
}

// gap finds the oldest segment whose file cannot reach to where the next one
// begins: it was cut short, or a file between them is gone. The walk would only
// find it if it came by.
func (r *recovery) gap(ctx context.Context) error {
	for i, s := range r.list[:len(r.list)-1] {
		next := r.list[i+1].base
		if s.damage == nil && int64(next-s.base) > s.prepared { //nolint:gosec // bases ascend
			w := newWalker(r.list[i:i+1], s.base, ^ident.LSN(0))
			for err := error(nil); err == nil; {
				_, err = w.next(ctx)
			}
			return fault.E("", fault.Corrupt, &CorruptionError{
				LSN: w.pos, LostTo: next, Reason: fmt.Sprintf("the file of LSN %d reaches to LSN %d at most, the next one begins at LSN %d",
					s.base, s.base+ident.LSN(s.prepared), next), //nolint:gosec // a size
			})
		}
	}
	return nil
}

// settleCache makes durable what an earlier process wrote and did not sync, and
// makes the walk see what is on the disk. Below the floor that is known to be the
// same. Above it, bytes of a failed sync may still be in memory, clean in the
// kernel's eyes: taken for entries, they would be lost later, in the middle.
func (r *recovery) settleCache() error {
	known := max(r.o.Floor, r.o.From)
	for _, s := range r.list[max(0, r.list.find(known)):] {
		if s.unread {
			continue
		}
		if err := s.sync(); err != nil {
			return err
		}
		off := int64(0)
		if known > s.base {
			off = s.offset(known)
		}
		if err := disk.DropCache(s.f, off); err != nil {
			return err
		}
	}
	return r.l.syncDir()
}

// walk goes to the first bytes that do not continue the log.
func (r *recovery) walk(ctx context.Context, visit func(*record.Entry) error) error {
	if err := r.walkFrom(ctx, r.o.At, visit); err != nil {
		return err
	}
	if r.o.At == nil || r.Entries > 0 || r.o.Clean && r.End == r.o.Floor {
		return nil
	}
	// Nothing continues the given chain. Before anything is cut for that, the log
	// itself must say that the chain is right.
	if err := r.walkFrom(ctx, nil, visit); err != nil {
		return err
	}
	if r.Entries > 0 || r.End == r.o.From && r.tail.CRC != r.o.At.CRC {
		return fault.Errorf("", fault.Invalid, "the chain given for LSN %d is not that of the log", r.o.From)
	}
	return nil
}

// walkFrom walks from the given chain at o.From on, or without one from the
// base of the segment that holds it.
func (r *recovery) walkFrom(ctx context.Context, at *Tail, visit func(*record.Entry) error) error {
	w := newWalker(r.list, r.o.From, ^ident.LSN(0))
	if at != nil {
		w.startAt(r.o.From, at)
	}
	r.bad = nil
	for {
		e, err := w.next(ctx)
		if errors.Is(err, io.EOF) || errors.As(err, &r.bad) {
			break
		}
		if err != nil {
			return err
		}
		if e.LSN < r.o.From {
			if e.End() > r.o.From {
				return fault.Errorf("", fault.Invalid, "LSN %d is inside the entry at %d", r.o.From, e.LSN)
			}
			continue
		}
		r.Entries++
		if err := visit(e); err != nil {
			return err
		}
	}
	r.End, r.last, r.tail = w.pos, w.i, w.chain
	r.LastCRC, r.LastTerm, r.LastTimeMS = r.tail.CRC, r.tail.Term, r.tail.TimeMS
	return nil
}

// settle judges the end that the walk found and makes the log writable there.
func (r *recovery) settle(ctx context.Context) error {
	if err := r.judge(ctx); err != nil {
		return err
	}
	if err := r.l.cut(r.End, r.last, r.tail); err != nil {
		return err
	}
	if seg := r.l.active(); r.CutTo > r.CutFrom && seg.base <= r.End {
		if err := wipe(ctx, seg, r.End, r.o.CutNotes); err != nil {
			return err
		}
	}
	r.l.accept(r.End, r.tail)
	return nil
}

// judge tells a torn tail from corruption.
func (r *recovery) judge(ctx context.Context) error {
	floor := max(r.o.Floor, r.o.From)
	if r.o.Clean && r.End == floor {
		return nil
	}
	found, err := search(ctx, r.list[r.last:], r.End, r.o.CutNotes)
	if err != nil {
		return err
	}
	reason := ""
	switch {
	case r.End < floor:
		reason = fmt.Sprintf("the log was durable up to LSN %d", floor)
	case r.bad != nil && r.bad.unread:
		reason = "unreadable"
	case r.last == 0 && r.list[0].damage != nil && (r.list[0].base > FirstLSN || found.end > 0):
		reason = "the header of the oldest segment had been durable"
	case found.proof > 0:
		reason = fmt.Sprintf("the entry at LSN %d says that it was committed", found.proof)
	}
	if reason != "" {
		if r.bad != nil {
			reason += ": " + r.bad.reason.Error()
		}
		return fault.E("", fault.Corrupt, &CorruptionError{LSN: r.End, LostTo: max(floor, found.end, r.End), Reason: reason})
	}
	r.CutFrom, r.CutTo = r.End, max(r.End, found.end)
	r.Torn = found.end > r.End || r.begun()
	if r.Torn {
		r.l.o.Logger.Warn("torn tail cut", slog.String("dir", r.l.o.Dir), slog.Uint64("lsn", uint64(r.CutFrom)),
			slog.Uint64("to", uint64(r.CutTo)))
	}
	return nil
}

// begun: the bytes at the end are a piece of an entry of that very place, which
// nobody cut on purpose.
func (r *recovery) begun() bool {
	for _, n := range r.o.CutNotes {
		if r.End >= n.From && r.End < n.To {
			return false
		}
	}
	var b [record.HeaderSize]byte
	n, err := r.list[r.last].readAt(b[:], r.End)
	return err == nil && n == len(b) && leLSN(b[:]) == r.End
}

// cut makes end, inside or at the base of the i-th segment, the end of the log
// on the disk: nothing behind it can be read as a continuation.
func (l *Log) cut(end ident.LSN, i int, tail Tail) error {
	list := *l.segs.Load()
	keep := i + 1
	if list[i].damage != nil && i > 0 && list[i].base == end {
		keep = i
	}
	for j := len(list) - 1; j >= keep; j-- {
		// Removed, not recycled: its bytes carry LSNs that will be used again.
		if err := errors.Join(list[j].close(), l.o.FS.Remove(segmentName(l.o.Dir, list[j].base))); err != nil {
			return err
		}
	}
	if keep < len(list) {
		if err := l.o.FS.SyncDir(l.o.Dir); err != nil {
			return err
		}
	}
	kept := append(segments(nil), list[:keep]...)
	l.segs.Store(&kept)
	s := kept[keep-1]
	if s.damage != nil {
		if err := l.rewriteHeader(s, tail); err != nil {
			return err
		}
	}
	return l.zeroHeader(s, end)
}

// rewriteHeader replaces the unreadable header of a segment that holds nothing.
func (l *Log) rewriteHeader(s *segment, tail Tail) error {
	h := header{cluster: l.o.ClusterHash, shard: l.o.Shard, base: s.base, capacity: l.o.SegmentBytes, tail: tail}
	s.capacity = h.capacity
	s.prepared = min(s.prepared, s.capacity)
	if _, err := s.f.WriteAt(h.encode(), 0); err != nil {
		return err
	}
	s.damage, s.tail = nil, tail.clone()
	return s.sync()
}

// zeroHeader writes zeros where the next entry's header will stand, unless
// there are zeros already or the segment ends there.
func (l *Log) zeroHeader(s *segment, end ident.LSN) error {
	var b [record.HeaderSize]byte
	n, err := s.readAt(b[:], end)
	if err != nil || allZero(b[:n]) {
		return err
	}
	if _, err := s.f.WriteAt(make([]byte, n), s.offset(end)); err != nil {
		return err
	}
	return s.sync()
}

// accept opens the log for appending at end.
func (l *Log) accept(end ident.LSN, tail Tail) {
	l.ring.reset(end)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end.Store(uint64(end))
	l.synced.Store(uint64(end))
	l.tail, l.recovered = tail.clone(), true
	l.sealed = tail.Sealed && l.active().base < end
	l.tail.Sealed = l.sealed
}

// AcceptLoss gives up everything from that LSN on, which must be an entry
// boundary that a walk reaches: the LSN of a CorruptionError, or one below. It is
// an operator's way on after corruption. The returned note must be durable, and
// the floor lowered to From, before the next Recover.
func (l *Log) AcceptLoss(ctx context.Context, from ident.LSN) (CutNote, error) {
	l.mu.Lock()
	recovered := l.recovered
	l.mu.Unlock()
	list := *l.segs.Load()
	if recovered || from < l.Start() {
		return CutNote{}, fault.Errorf("commitlog.AcceptLoss", fault.Invalid, "LSN %d cannot be cut", from)
	}
	w := newWalker(list, from, from)
	for w.pos < from {
		if _, err := w.next(ctx); errors.Is(err, io.EOF) {
			break // behind the last Seal
		} else if err != nil {
			return CutNote{}, fault.E("commitlog.AcceptLoss", fault.Invalid, fmt.Errorf("LSN %d is out of reach: %w", from, err))
		}
	}
	if w.pos != from {
		return CutNote{}, fault.Errorf("commitlog.AcceptLoss", fault.Invalid, "LSN %d is not an entry's start", from)
	}
	found, err := search(ctx, list[w.i:], from, nil)
	if err != nil {
		return CutNote{}, fault.E("commitlog.AcceptLoss", fault.Other, err)
	}
	note := CutNote{from, max(from, found.end)}
	l.o.Logger.Error("log cut by an operator", slog.String("dir", l.o.Dir), slog.Uint64("from", uint64(note.From)),
		slog.Uint64("to", uint64(note.To)))
	if err := l.cut(from, w.i, w.chain); err != nil {
		return CutNote{}, fault.E("commitlog.AcceptLoss", fault.Other, err)
	}
	return note, nil
}
