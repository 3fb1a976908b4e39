// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"context"
	"errors"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

// findings are the whole entries behind a bad one.
type findings struct {
	proof ident.LSN // of the first entry that says the bad one was committed; 0: none
	end   ident.LSN // of the last entry; 0: none
}

// search looks for whole entries that stand behind bad, in the given segments,
// the first of which holds it. An entry is recognised by its self-address and
// CRC. It proves that the bad one was committed if its own commit lies beyond.
// Entries in a range that was cut on purpose are passed over, and so are bytes
// that cannot be read: what they might prove, the entries behind them prove too.
func search(ctx context.Context, list segments, bad ident.LSN, notes []CutNote) (findings, error) {
	s := searcher{bad: bad, notes: notes, buf: make([]byte, list.chunk()+record.HeaderSize)}
	for i, seg := range list {
		limit := seg.base + ident.LSN(max(0, seg.capacity))
		if i+1 < len(list) {
			limit = min(limit, list[i+1].base)
		}
		if err := s.segment(ctx, seg, limit); err != nil {
			return s.found, err
		}
	}
	return s.found, nil
}

// errFound ends a search that wanted one entry.
var errFound = errors.New("found")

// first finds the first whole entry behind bad, and in which of the segments it
// stands; 0 when there is none.
func first(ctx context.Context, list segments, bad ident.LSN) (at ident.LSN, in int, err error) {
	s := searcher{bad: bad, buf: make([]byte, list.chunk()+record.HeaderSize)}
	s.each = func(e *record.Entry) error {
		at = e.LSN
		return errFound
	}
	for i, seg := range list {
		limit := seg.base + ident.LSN(seg.capacity) //nolint:gosec // never negative
		if i+1 < len(list) {
			limit = min(limit, list[i+1].base)
		}
		if err := s.segment(ctx, seg, limit); errors.Is(err, errFound) {
			return at, i, nil
		} else if err != nil {
			return 0, 0, err
		}
	}
	return 0, 0, nil
}

// wipe overwrites the headers of all whole entries that stand behind bad in the
// segment, except those that search passes over: they must not be found again
// by a later recovery.
func wipe(ctx context.Context, seg *segment, bad ident.LSN, notes []CutNote) error {
	s := searcher{bad: bad, notes: notes, buf: make([]byte, segments{seg}.chunk()+record.HeaderSize)}
	s.each = func(e *record.Entry) error {
		_, err := seg.f.WriteAt(make([]byte, record.HeaderSize), seg.offset(e.LSN))
		return err
	}
	if err := s.segment(ctx, seg, seg.base+ident.LSN(seg.capacity)); err != nil { //nolint:gosec // never negative
		return err
	}
	return seg.sync()
}

type searcher struct {
	bad   ident.LSN
	notes []CutNote
	each  func(*record.Entry) error // called for what is found; may be nil
	found findings
	last  ident.LSN // end of the last whole entry, also of one that is passed over
	buf   []byte
	whole []byte // grown for entries that do not lie in buf
}

// segment searches one segment up to limit, chunk by chunk.
func (s *searcher) segment(ctx context.Context, seg *segment, limit ident.LSN) error {
	from := max(seg.base, s.bad+record.Align)
	s.last = max(s.last, from)
	for from < limit && from-min(from, s.last) <= searchGapMax {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := seg.readAt(s.buf[:min(uint64(len(s.buf)), uint64(limit-from))], from)
		if err != nil {
			from += ident.LSN(len(s.buf) - record.HeaderSize) //nolint:gosec // a chunk
			continue
		}
		if n < record.HeaderSize {
			return nil
		}
		if from, err = s.chunk(seg, s.buf[:n], from); err != nil {
			return err
		}
	}
	return nil
}

// chunk tries every place in b, which stands at lsn, where a whole header fits,
// and returns where to go on.
func (s *searcher) chunk(seg *segment, b []byte, lsn ident.LSN) (ident.LSN, error) {
	off := 0
	for off+record.HeaderSize <= len(b) {
		at := lsn + ident.LSN(off)
		if leLSN(b[off:]) != at {
			off += record.Align
			continue
		}
		e, ok := s.entry(seg, b[off:], at)
		if !ok {
			off += record.Align
			continue
		}
		if err := s.note(&e); err != nil {
			return 0, err
		}
		off += int(e.End() - at) //nolint:gosec // an entry's length
	}
	return lsn + ident.LSN(off), nil
}

// entry decodes the entry at lsn, whose header b holds.
func (s *searcher) entry(seg *segment, b []byte, lsn ident.LSN) (record.Entry, bool) {
	n, err := record.PeekLen(b)
	if err != nil {
		return record.Entry{}, false
	}
	if n > len(b) {
		if n > len(s.whole) {
			s.whole = make([]byte, n)
		}
		if got, err := seg.readAt(s.whole[:n], lsn); err != nil || got < n {
			return record.Entry{}, false
		}
		b = s.whole[:n]
	}
	e, err := record.Decode(b, lsn)
	return e, err == nil
}

// note counts an entry that was found, unless it was cut on purpose.
func (s *searcher) note(e *record.Entry) error {
	s.last = max(s.last, e.End())
	for _, n := range s.notes {
		if e.LSN >= n.From && e.LSN < n.To {
			return nil
		}
	}
	s.found.end = max(s.found.end, e.End())
	if s.found.proof == 0 && e.Commit() > s.bad {
		s.found.proof = e.LSN
	}
	if s.each == nil {
		return nil
	}
	return s.each(e)
}
