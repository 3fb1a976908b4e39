// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"errors"
	"io"
	"iter"
	"math"
	"sort"
	"sync"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/view/flat"
	"github.com/mansiomq/mansio/storenode/view/sealed"
)

// Stored is the postings of a sealed segment, read from an index file. In
// memory it keeps 28 bytes per 128 queues, 4 per 256 postings and 12 per 256
// samples of the time table. All methods may be called concurrently.
type Stored struct {
	file     io.Closer
	seg      sealed.Segment
	postings flat.Pages
	spans    flat.Pages
	keys     []key // first key of each page of spans
	count    uint32
	times    flat.Pages
	firsts   []int64 // first time of each page of times
	lastMS   int64   // time of the last sample
}

// Open makes a Stored of the two sections that a Run wrote. It reads their
// tails; pages are checked when they are read. Damaged bytes are fault.Corrupt.
// Close will close file, which may be nil.
func Open(queues, times *io.SectionReader, file io.Closer) (*Stored, error) {
	const op = "queue.Open"
	s := &Stored{file: file}
	if err := s.openQueues(queues); err != nil {
		return nil, edge(op, err)
	}
	if err := s.openTimes(times); err != nil {
		return nil, edge(op, err)
	}
	return s, nil
}

// edge gives errors their kind where they leave the package.
func edge(op string, err error) error {
	if errors.Is(err, flat.ErrDamaged) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.E(op, fault.Corrupt, err)
	}
	return fault.E(op, fault.Other, err)
}

func (s *Stored) openQueues(r *io.SectionReader) error {
	tail, at, err := flat.ReadTail(r)
	if err != nil {
		return err
	}
	d := flat.NewDecoder(tail)
	d.Version(sectionVersion)
	s.seg.Base = ident.LSN(d.UV("base"))
	s.seg.End = ident.LSN(d.UV("end"))
	s.count = uint32(d.Max(math.MaxUint32, "posting count")) //nolint:gosec // bounded by Max
	s.postings = flat.Pages{R: r, Ends: d.PageEnds()}
	s.spans = flat.Pages{R: r, Ends: d.PageEnds()}
	s.keys = make([]key, s.spans.Count())
	for i := range s.keys {
		s.keys[i] = key{ident.Topic(d.UV("first topic")), ident.Queue(d.UV("first queue"))}
	}
	if n := s.postings.Count(); n > 0 {
		s.spans.At = int64(s.postings.Ends[n-1])
	}
	end := s.spans.At
	if n := s.spans.Count(); n > 0 {
		end += int64(s.spans.Ends[n-1])
	}
	pages := (uint64(s.count) + postingsPerPage - 1) / postingsPerPage
	if d.OK() && (end != at || pages != uint64(s.postings.Count()) || s.seg.End < s.seg.Base) { //nolint:gosec // not negative
		d.Fail("page table")
	}
	return d.Finish("a queue section")
}

func (s *Stored) openTimes(r *io.SectionReader) error {
	tail, at, err := flat.ReadTail(r)
	if err != nil {
		return err
	}
	d := flat.NewDecoder(tail)
	d.Version(sectionVersion)
	s.times = flat.Pages{R: r, Ends: d.PageEnds()}
	s.firsts = make([]int64, s.times.Count())
	for i := range s.firsts {
		s.firsts[i] = d.SV("first time")
	}
	s.lastMS = d.SV("last time")
	end := int64(0)
	if n := s.times.Count(); n > 0 {
		end = int64(s.times.Ends[n-1])
	}
	if d.OK() && end != at {
		d.Fail("page table")
	}
	return d.Finish("a time section")
}

// Segment implements Source.
func (s *Stored) Segment() sealed.Segment { return s.seg }

// lent is the memory that a page is read into and decoded from.
type lent struct {
	b []byte
	d flat.Decoder
}

var pool = sync.Pool{New: func() any { return new(lent) }}

// read reads a page into lent memory, which the caller gives back to the pool.
func read(p *flat.Pages, i int) (*lent, error) {
	l := pool.Get().(*lent) //nolint:forcetypeassert // the pool's own New
	payload, err := p.Read(i, &l.b)
	if err != nil {
		pool.Put(l)
		return nil, err
	}
	l.d.Reset(payload)
	return l, nil
}

// Find implements Source.
func (s *Stored) Find(t ident.Topic, q ident.Queue) (Span, bool, error) {
	want := key{t, q}
	i := sort.Search(len(s.keys), func(i int) bool { return want.less(s.keys[i]) }) - 1
	if i < 0 {
		return Span{}, false, nil
	}
	p, err := s.openSpans(i)
	if err != nil {
		return Span{}, false, s.edge("queue.Stored.Find", err)
	}
	defer p.close()
	for p.next() {
		if c := compareKey(p.span, t, q); c >= 0 {
			return p.span, c == 0, nil
		}
	}
	return Span{}, false, s.edgeIf("queue.Stored.Find", p.err())
}

func (k key) less(o key) bool { return k.topic < o.topic || k.topic == o.topic && k.queue < o.queue }

// spanPage walks the spans of one page of the directory.
type spanPage struct {
	*lent
	span    Span
	ordinal uint64 // of the next span's first posting
	count   uint64 // of all postings
}

func (s *Stored) openSpans(i int) (spanPage, error) {
	l, err := read(&s.spans, i)
	if err != nil {
		return spanPage{}, err
	}
	p := spanPage{lent: l, count: uint64(s.count)}
	p.ordinal = p.d.Max(p.count, "first posting")
	return p, nil
}

func (p *spanPage) close() { pool.Put(p.lent) }

// next moves to the next span, if there is one.
func (p *spanPage) next() bool {
	d, s := &p.d, &p.span
	if !d.OK() || d.Left() == 0 {
		return false
	}
	if step := ident.Topic(d.UV("topic")); step != 0 {
		s.Topic, s.Queue = s.Topic+step, 0
	}
	s.Queue += ident.Queue(d.UV("queue"))
	s.Base = ident.Offset(d.UV("base"))
	s.at = uint32(p.ordinal)                                         //nolint:gosec // at most count
	s.Count = uint32(d.Max(p.count-p.ordinal, "number of postings")) //nolint:gosec // at most count
	p.ordinal += uint64(s.Count)
	if s.Topic == 0 || s.Count == 0 {
		d.Fail("span")
	}
	return d.OK()
}

func (p *spanPage) err() error { return p.d.Err("a directory page") }

// Directory implements Source.
func (s *Stored) Directory() iter.Seq2[Span, error] {
	return func(yield func(Span, error) bool) {
		for i := range s.keys {
			if more, err := s.yieldPage(i, yield); err != nil {
				yield(Span{}, s.edge("queue.Stored.Directory", err))
				return
			} else if !more {
				return
			}
		}
	}
}

func (s *Stored) yieldPage(i int, yield func(Span, error) bool) (more bool, err error) {
	p, err := s.openSpans(i)
	if err != nil {
		return false, err
	}
	defer p.close()
	for p.next() {
		if !yield(p.span, nil) {
			return false, nil
		}
	}
	return true, p.err()
}

// Read implements Source.
func (s *Stored) Read(span Span, from ident.Offset, dst []Posting) (int, error) {
	if from < span.Base || from >= span.End() {
		return 0, nil
	}
	n := int(min(uint64(len(dst)), uint64(span.End()-from))) //nolint:gosec // at most a length
	at := int(span.at) + int(from-span.Base)                 //nolint:gosec // below count
	for done := 0; done < n; {
		got, err := s.readPage((at+done)/postingsPerPage, (at+done)%postingsPerPage, dst[done:n])
		if err != nil {
			return done, s.edge("queue.Stored.Read", err)
		}
		done += got
	}
	return n, nil
}

// readPage reads postings of one page from its k-th one upward.
func (s *Stored) readPage(i, k int, dst []Posting) (int, error) {
	if i >= s.postings.Count() {
		return 0, flat.ErrDamaged
	}
	l, err := read(&s.postings, i)
	if err != nil {
		return 0, err
	}
	defer pool.Put(l)
	n, prev := min(len(dst), postingsPerPage-k), s.seg.Base
	for j := range k + n {
		p := readPosting(&l.d, prev)
		prev = p.LSN
		if j >= k {
			dst[j-k] = p
		}
	}
	return n, l.d.Err("a page of postings")
}

// Since implements Source.
func (s *Stored) Since(timeMS int64) (ident.LSN, bool, error) {
	if len(s.firsts) == 0 || timeMS > s.lastMS {
		return 0, false, nil
	}
	// The first sample not before timeMS is in the last page that starts before
	// it, or it is the first of the page behind that one.
	i := sort.Search(len(s.firsts), func(i int) bool { return s.firsts[i] >= timeMS })
	for page := max(i-1, 0); page <= i && page < len(s.firsts); page++ {
		lsn, ok, err := s.sinceIn(page, timeMS)
		if ok || err != nil {
			return lsn, ok, s.edgeIf("queue.Stored.Since", err)
		}
	}
	return 0, false, nil
}

// edge is the package's edge for reads: damage names the segment.
func (s *Stored) edge(op string, err error) error {
	if err = edge(op, err); fault.Is(err, fault.Corrupt) {
		return &sealed.DamageError{Segment: s.seg, Err: err}
	}
	return err
}

func (s *Stored) edgeIf(op string, err error) error {
	if err == nil {
		return nil
	}
	return s.edge(op, err)
}

func (s *Stored) sinceIn(page int, timeMS int64) (ident.LSN, bool, error) {
	l, err := read(&s.times, page)
	if err != nil {
		return 0, false, err
	}
	defer pool.Put(l)
	d := &l.d
	at := sample{lsn: s.seg.Base}
	for d.OK() && d.Left() > 0 {
		at = readSample(d, at)
		if d.OK() && at.ms >= timeMS {
			return at.lsn, true, nil
		}
	}
	return 0, false, d.Err("a page of times")
}

// Close closes the file: reads that come later fail with fault.NotFound. It
// waits for reads that are under way.
func (s *Stored) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Postings is the number of postings.
func (s *Stored) Postings() int { return int(s.count) }
