// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"context"

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
// CRC. It proves that the bad one was committed if its own commit lies beyond,
// unless it stands in a range that was cut on purpose. Bytes that cannot be
// read are passed over: what they might prove, the entries behind them prove too.
func (l *Log) search(ctx context.Context, list segments, bad ident.LSN, notes []CutNote) (findings, error) {
	var f findings
	s := searcher{bad: bad, notes: notes, found: &f, buf: make([]byte, list.chunk()+record.HeaderSize)}
	for i, seg := range list {
		from := max(seg.base, bad+record.Align)
		limit := seg.base + ident.LSN(max(0, seg.capacity)) //nolint:gosec // never negative
		if i+1 < len(list) {
			limit = min(limit, list[i+1].base)
		}
		if err := s.segment(ctx, seg, from, limit); err != nil {
			return f, err
		}
	}
	return f, nil
}

type searcher struct {
	bad   ident.LSN
	notes []CutNote
	found *findings
	buf   []byte
	whole []byte // grown for entries that do not lie in buf
}

// segment searches one segment chunk by chunk.
func (s *searcher) segment(ctx context.Context, seg *segment, from, limit ident.LSN) error {
	quiet := from // behind the last whole entry
	for from < limit && from-quiet <= searchGapMax {
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
		from = s.chunk(seg, s.buf[:n], from)
		quiet = max(quiet, s.found.end)
	}
	return nil
}

// chunk tries every place in b, which stands at lsn, where a whole header fits,
// and returns where to go on.
func (s *searcher) chunk(seg *segment, b []byte, lsn ident.LSN) ident.LSN {
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
		s.note(&e)
		off += int(e.End() - at) //nolint:gosec // an entry's length
	}
	return lsn + ident.LSN(off)
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

func (s *searcher) note(e *record.Entry) {
	s.found.end = max(s.found.end, e.End())
	if s.found.proof > 0 || e.Commit() <= s.bad {
		return
	}
	for _, n := range s.notes {
		if e.LSN >= n.From && e.LSN < n.To {
			return
		}
	}
	s.found.proof = e.LSN
}
