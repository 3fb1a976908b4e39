// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

// Log is the log of one shard replica. See the package comment for who may call
// what when.
type Log struct {
	o    Options
	ring *ring

	segs   atomic.Pointer[segments]
	start  atomic.Uint64 // base of the oldest segment
	end    atomic.Uint64 // behind the last entry
	synced atomic.Uint64

	syncing sync.Mutex // serialises Sync; taken before mu

	mu        sync.Mutex
	recovered bool
	closed    bool
	failure   error // the first fatal one; nothing is written after it
	tail      Tail  // at end
	sealed    bool  // the last entry is a Seal: the next one opens a segment
	renamed   int   // segments that were given their name
	dirSynced int   // how many of these names are durable
	next      *area // will be the next segment
	nextName  string
	pool      []pooled // retired files for later
	poolSeq   int      // number of the newest pool file
	spare     *area    // for a full disk
	retired   segments // trimmed, not yet given to the pool; oldest first
	space     Space
	retry     bool          // a full disk may be tried again
	wanted    int64         // bytes that somebody waits for
	changed   chan struct{} // closed when preparation progressed; nil: nobody waits

	wake chan struct{} // tells Run that there may be work
	dead chan struct{} // closed with failure
}

// pooled is a retired file whose blocks wait for their next use.
type pooled struct {
	name string
	f    disk.File
}

// Open reads the segment headers of the folder and makes the first segment in
// an empty one. It refuses headers of another cluster or shard, or of a newer
// format (fault.Incompatible). A header that cannot be read is not judged here:
// Recover tells a torn one from a corrupt one. Nothing but Close, Start,
// Segments, Scan, Recover and AcceptLoss may be called before Recover succeeded.
func Open(o Options) (*Log, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	l := &Log{o: o, wake: make(chan struct{}, 1), dead: make(chan struct{})}
	if err := l.open(); err != nil {
		kind := fault.Other
		if errors.Is(err, syscall.ENOSPC) {
			kind = fault.DiskFull
		}
		return nil, fault.E("commitlog.Open", kind, errors.Join(err, l.Close()))
	}
	return l, nil
}

func (l *Log) open() error {
	if err := l.o.FS.MkdirAll(l.o.Dir); err != nil {
		return err
	}
	names, err := l.o.FS.List(l.o.Dir)
	if err != nil {
		return err
	}
	var list segments
	for _, name := range names { // sorted, so by base
		if base, ok := parseSegmentName(name); ok {
			s, err := l.openSegment(base)
			if err != nil {
				l.segs.Store(&list)
				return err
			}
			list = append(list, s)
		}
	}
	l.segs.Store(&list)
	if err := l.adoptPool(names); err != nil {
		return err
	}
	if len(list) == 0 {
		if err := l.createFirst(); err != nil {
			return err
		}
	}
	l.start.Store(uint64((*l.segs.Load())[0].base))
	l.readSpace()
	if l.o.RingBytes > 0 {
		l.ring, err = newRing(l.o.RingBytes)
	}
	return err
}

// openSegment opens the file and judges its header.
func (l *Log) openSegment(base ident.LSN) (*segment, error) {
	name := segmentName(l.o.Dir, base)
	f, err := l.o.FS.Open(name, disk.ReadWrite)
	if err != nil {
		return nil, err
	}
	s, err := l.readSegment(f, base)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	if s.damage != nil {
		l.o.Logger.Error("segment header damaged", slog.String("file", name), slog.Any("error", s.damage))
	}
	return s, nil
}

func (l *Log) readSegment(f disk.File, base ident.LSN) (*segment, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	s := &segment{area: &area{f: f, prepared: max(0, size-HeaderBytes)}, base: base}
	b := make([]byte, HeaderBytes+record.HeaderSize)
	n, unread := s.readAt(b, base-HeaderBytes)
	var h header
	h, s.damage = decodeHeader(b[:min(n, HeaderBytes)])
	switch {
	case unread != nil:
		s.damage, s.unread = unread, true
	case errors.Is(s.damage, errNewerFormat):
		return nil, fault.E("commitlog.Open", fault.Incompatible, s.damage)
	case s.damage != nil:
	case h.cluster != l.o.ClusterHash || h.shard != l.o.Shard:
		return nil, fault.Errorf("commitlog.Open", fault.Incompatible,
			"segment belongs to cluster %016x shard %d, this is cluster %016x shard %d",
			h.cluster, h.shard, l.o.ClusterHash, l.o.Shard)
	case h.base != base:
		s.damage = fmt.Errorf("segment header: base %d in a file named %d", h.base, base)
	}
	s.capacity = s.prepared
	if s.damage == nil {
		s.capacity, s.tail, s.reserve = h.capacity, h.tail, h.spare
		s.prepared = min(s.prepared, s.capacity)
		s.setFirstTime(b[HeaderBytes:n])
	}
	return s, nil
}

// setFirstTime reads the time of the segment's first entry from its header.
func (s *segment) setFirstTime(b []byte) {
	if len(b) < record.HeaderSize || leLSN(b) != s.base {
		return
	}
	s.firstTimeMS.Store(leTime(b))
}

// createFirst makes the first segment of an empty log, with blocks prepared, so
// that the log can be written before Run starts.
func (l *Log) createFirst() error {
	a, name, err := l.takeArea()
	if err != nil {
		return err
	}
	if err := l.zero(a, min(l.o.PrepareBytes, prepareStepBytes, a.capacity)); err != nil {
		return errors.Join(err, a.f.Close())
	}
	s, err := l.christen(a, name, FirstLSN, Tail{})
	if err != nil {
		return errors.Join(err, a.f.Close())
	}
	l.segs.Store(&segments{s})
	if err := s.sync(); err != nil {
		return err
	}
	return l.syncDir()
}

// christen makes an area the segment that begins at base: it writes the header
// and gives the file its name. Sync makes both durable.
func (l *Log) christen(a *area, name string, base ident.LSN, tail Tail) (*segment, error) {
	s := &segment{area: a, base: base, tail: tail.clone()}
	h := header{cluster: l.o.ClusterHash, shard: l.o.Shard, base: base, capacity: a.capacity, spare: a.reserve, tail: s.tail}
	if _, err := a.f.WriteAt(h.encode(), 0); err != nil {
		return nil, err
	}
	if err := l.o.FS.Rename(name, segmentName(l.o.Dir, base)); err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.renamed++
	l.mu.Unlock()
	return s, nil
}

// syncDir makes the names of all segments durable.
func (l *Log) syncDir() error {
	l.mu.Lock()
	renamed := l.renamed
	l.mu.Unlock()
	if err := l.o.FS.SyncDir(l.o.Dir); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dirSynced = max(l.dirSynced, renamed)
	return nil
}

// Close releases files and memory; it waits for readers. Run must have
// returned. What was appended but not synced is as safe as a crash leaves it.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	files := []disk.File{}
	for _, p := range l.pool {
		files = append(files, p.f)
	}
	for _, a := range []*area{l.next, l.spare} {
		if a != nil {
			files = append(files, a.f)
		}
	}
	open := append(segments(nil), l.retired...)
	l.mu.Unlock()
	if list := l.segs.Load(); list != nil {
		open = append(open, *list...)
	}
	var err error
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	for _, s := range open {
		err = errors.Join(err, s.close())
	}
	return errors.Join(err, l.ring.close())
}

// Start is the LSN of the oldest entry that the log keeps.
func (l *Log) Start() ident.LSN { return ident.LSN(l.start.Load()) }

// End is the LSN behind the newest entry: where the next one will stand.
func (l *Log) End() ident.LSN { return ident.LSN(l.end.Load()) }

// Synced is the LSN below which everything is durable.
func (l *Log) Synced() ident.LSN { return ident.LSN(l.synced.Load()) }

// Tail is the state of the chain at End.
func (l *Log) Tail() Tail {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tail.clone()
}

// Segments describes the segments, oldest first. Before Recover the newest one
// ends where it begins.
func (l *Log) Segments() []Segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := *l.segs.Load()
	end := max(l.End(), list[len(list)-1].base)
	out := make([]Segment, len(list))
	for i, s := range list {
		last := i == len(list)-1
		out[i] = Segment{
			Base: s.base, End: list.limit(i, end), FirstTimeMS: s.firstTimeMS.Load(),
			Sealed: !last || l.sealed, Bytes: HeaderBytes + s.prepared,
		}
		if !last {
			out[i].LastCRC = list[i+1].tail.CRC
		}
	}
	return out
}

// usable says whether the log may be written.
func (l *Log) usable() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.failure != nil:
		return l.failure
	case l.closed:
		return fault.Errorf("commitlog", fault.Canceled, "log is closed")
	case !l.recovered:
		return fault.Errorf("commitlog", fault.Invalid, "log is not recovered")
	}
	return nil
}

// fail makes the log refuse all writing from now on and returns the error that
// says so.
func (l *Log) fail(op string, cause error) error {
	l.mu.Lock()
	first := l.failure == nil
	if first {
		l.failure = fault.E("commitlog."+op, fault.Internal, fmt.Errorf("log failed: %w", cause))
		close(l.dead)
	}
	err := l.failure
	l.mu.Unlock()
	if first {
		l.o.Logger.Error("log failed", slog.String("dir", l.o.Dir), slog.String("op", op), slog.Any("error", cause))
	}
	return err
}

// Failed is closed when the log refuses to be written for good: an fsync or a
// write into prepared blocks failed.
func (l *Log) Failed() <-chan struct{} { return l.dead }

// adoptPool opens the files that an earlier life left for later use. Those of a
// wrong size are removed.
func (l *Log) adoptPool(names []string) error {
	for _, name := range names {
		if !strings.HasSuffix(name, poolSuffix) {
			continue
		}
		full := filepath.Join(l.o.Dir, name)
		f, err := l.o.FS.Open(full, disk.ReadWrite)
		if err != nil {
			return err
		}
		size, err := f.Size()
		if err != nil {
			return errors.Join(err, f.Close())
		}
		seq, numbered := poolNumber(name)
		switch {
		case name == reserveName && size == HeaderBytes+l.reserveBytes():
			l.spare = &area{f: f, capacity: l.o.SegmentBytes, prepared: l.reserveBytes(), reserve: true}
		case numbered && size == HeaderBytes+l.o.SegmentBytes && len(l.pool) < poolMax:
			l.pool = append(l.pool, pooled{full, f})
			l.poolSeq = max(l.poolSeq, seq)
		default:
			if err := errors.Join(f.Close(), l.o.FS.Remove(full)); err != nil {
				return err
			}
		}
	}
	return nil
}
