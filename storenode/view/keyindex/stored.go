// SPDX-License-Identifier: Apache-2.0

package keyindex

import (
	"encoding/binary"
	"errors"
	"io"
	"sort"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/view/flat"
	"github.com/mansiomq/mansio/storenode/view/sealed"
)

// Stored is the keys and ids of a sealed segment, read from an index file. It
// keeps nothing of them in memory: a lookup reads the section's tail, 16 bytes
// per 256 pairs, and the pages that hold the hash.
type Stored struct {
	file io.Closer
	seg  sealed.Segment
	keys *io.SectionReader
	ids  *io.SectionReader
}

// Open makes a Stored of the two sections that a Run wrote. Damaged bytes are
// fault.Corrupt. Close will close file, which may be nil.
func Open(keys, ids *io.SectionReader, file io.Closer) (*Stored, error) {
	const op = "keyindex.Open"
	k, err := readTop(keys)
	if err != nil {
		return nil, edge(op, err)
	}
	i, err := readTop(ids)
	if err != nil {
		return nil, edge(op, err)
	}
	if k.seg != i.seg {
		return nil, fault.Errorf(op, fault.Corrupt, "keys of %v, ids of %v", k.seg, i.seg)
	}
	return &Stored{file: file, seg: k.seg, keys: keys, ids: ids}, nil
}

func edge(op string, err error) error {
	if errors.Is(err, flat.ErrDamaged) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.E(op, fault.Corrupt, err)
	}
	return fault.E(op, fault.Other, err)
}

// top is a section's tail: the segment, and where each page starts and ends.
type top struct {
	seg    sealed.Segment
	firsts []byte // tailPage bytes per page
	pages  flat.Pages
}

func readTop(r *io.SectionReader) (*top, error) {
	tail, at, err := flat.ReadTail(r)
	if err != nil {
		return nil, err
	}
	d := flat.NewDecoder(tail)
	d.Version(sectionVersion)
	t := &top{}
	t.seg = sealed.Segment{Base: ident.LSN(d.U64("base")), End: ident.LSN(d.U64("end"))}
	pairs := d.U64("pairs")
	n := d.Left() / tailPage
	if d.OK() && (uint64(n) != (pairs+pairsPerPage-1)/pairsPerPage || d.Left()%tailPage != 0 || t.seg.End < t.seg.Base) { //nolint:gosec // not negative
		d.Fail("page table")
	}
	if err := d.Err("a key section"); err != nil {
		return nil, err
	}
	t.firsts = tail[tailHead:]
	t.pages = flat.Pages{R: r, Ends: make([]uint32, n)}
	prev := uint32(0)
	for i := range t.pages.Ends {
		end := binary.LittleEndian.Uint32(t.firsts[i*tailPage+12:])
		if end < prev {
			d.Fail("end of page")
		}
		t.pages.Ends[i], prev = end, end
	}
	if int64(prev) != at {
		d.Fail("page table")
	}
	return t, d.Err("a key section")
}

func (t *top) first(i int) pair {
	b := t.firsts[i*tailPage:]
	return pair{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])}
}

// Segment implements Source.
func (s *Stored) Segment() sealed.Segment { return s.seg }

// Find implements Source.
func (s *Stored) Find(dst []ident.LSN, q Query) ([]ident.LSN, error) {
	const op = "keyindex.Stored.Find"
	from, to := max(q.From, s.seg.Base), min(q.To, s.seg.End)
	if from >= to || q.Max <= 0 {
		return dst, nil
	}
	r := s.keys
	if q.Key.kind == byID {
		r = s.ids
	}
	t, err := readTop(r)
	if err != nil {
		return dst, s.edge(op, err)
	}
	a := answer{dst: dst, start: len(dst), max: q.Max}
	if err := t.find(q.Key.hash, s.distance(from), s.distance(to), q.Newest, &a); err != nil {
		return dst, s.edge(op, err)
	}
	return a.dst, nil
}

// edge is the package's edge for reads: damage names the segment.
func (s *Stored) edge(op string, err error) error {
	if err = edge(op, err); fault.Is(err, fault.Corrupt) {
		return &sealed.DamageError{Segment: s.seg, Err: err}
	}
	return err
}

// distance tells an LSN as the section does, rounded up to the next entry.
func (s *Stored) distance(lsn ident.LSN) uint64 {
	return (uint64(lsn-s.seg.Base) + 1<<lsnShift - 1) >> lsnShift
}

// find visits the pages that can hold hash with an LSN in [from, to), in the
// order that is wanted.
func (t *top) find(hash, from, to uint64, newest bool, a *answer) error {
	n := t.pages.Count()
	// Pairs at or behind (hash, x) begin in the page before the first one that
	// starts at or behind it.
	start := func(x uint64) int {
		return sort.Search(n, func(i int) bool {
			p := t.first(i)
			return p.hash > hash || p.hash == hash && uint64(p.lsn) >= x
		})
	}
	lo, hi := max(start(from)-1, 0), start(to)
	for k := range hi - lo {
		i := lo + k
		if newest {
			i = hi - 1 - k
		}
		more, err := t.page(i, hash, from, to, newest, a)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// page answers from one page and reports whether there is room for more.
func (t *top) page(i int, hash, from, to uint64, newest bool, a *answer) (more bool, err error) {
	payload, err := t.pages.Read(i, new([]byte))
	if err != nil {
		return false, err
	}
	d := flat.NewDecoder(payload)
	var found []uint32
	for p := (pair{}); d.OK() && d.Left() > 0; {
		p = readPair(d, p)
		if d.OK() && p.hash == hash && uint64(p.lsn) >= from && uint64(p.lsn) < to {
			found = append(found, p.lsn)
		}
	}
	for k := range found {
		j := k
		if newest {
			j = len(found) - 1 - k
		}
		if !a.add(lsnAt(t.seg.Base, found[j])) {
			return false, nil
		}
	}
	return true, d.Err("a page of keys")
}

// Close closes the file: reads that come later fail with fault.NotFound. It
// waits for reads that are under way.
func (s *Stored) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
