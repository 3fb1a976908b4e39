// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"encoding/binary"
	"io"
	"math"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/view/flat"
)

// The numbers of the section format, version 1; see doc.go. They never change.
const (
	sectionVersion  = 1
	postingsPerPage = 256
	spansPerPage    = 128
	samplesPerPage  = 256

	flagTag    = 1 << 0
	flagGroup  = 1 << 1
	flagBits   = 3 // bit 2 is reserved for a body that stands in another segment
	flagsKnown = flagTag | flagGroup
)

// appendPosting encodes one posting. prev is the LSN that its own is told from.
func appendPosting(dst []byte, p Posting, prev ident.LSN) []byte {
	head := uint64(p.Bytes) << flagBits
	if p.TagHash != 0 {
		head |= flagTag
	}
	if p.GroupHash != 0 {
		head |= flagGroup
	}
	dst = binary.AppendUvarint(dst, head)
	dst = binary.AppendVarint(dst, int64(p.LSN-prev)>>lsnShift) //nolint:gosec // wraps around and back
	if p.TagHash != 0 {
		dst = binary.LittleEndian.AppendUint32(dst, p.TagHash)
	}
	if p.GroupHash != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, p.GroupHash)
	}
	return dst
}

// readPosting reads what appendPosting wrote.
func readPosting(d *flat.Decoder, prev ident.LSN) Posting {
	head := d.Max(math.MaxUint32<<flagBits|flagsKnown, "posting")
	if head&(1<<flagBits-1)&^flagsKnown != 0 {
		d.Fail("posting flags")
	}
	p := Posting{Bytes: uint32(head >> flagBits)}                   //nolint:gosec // bounded by Max
	p.LSN = prev + ident.LSN(uint64(d.SV("posting LSN"))<<lsnShift) //nolint:gosec // wraps around and back
	if head&flagTag != 0 {
		p.TagHash = d.U32("tag hash")
	}
	if head&flagGroup != 0 {
		p.GroupHash = d.U64("group hash")
	}
	return p
}

// WriteQueues writes the run's directory and postings as a section of an index
// file. Equal runs write equal bytes.
func (r *Run) WriteQueues(w io.Writer) error {
	e := flat.NewEncoder(w)
	postings := flat.NewPageWriter(e)
	r.writePostings(postings)
	spans := flat.NewPageWriter(e)
	keys := r.writeSpans(spans)

	tail := []byte{sectionVersion}
	tail = binary.AppendUvarint(tail, uint64(r.seg.Base))
	tail = binary.AppendUvarint(tail, uint64(r.seg.End))
	tail = binary.AppendUvarint(tail, uint64(r.Postings())) //nolint:gosec // not negative
	tail = flat.AppendPageLens(tail, postings.Ends())
	tail = flat.AppendPageLens(tail, spans.Ends())
	for _, k := range keys {
		tail = binary.AppendUvarint(tail, uint64(k.topic))
		tail = binary.AppendUvarint(tail, uint64(k.queue))
	}
	flat.WriteTail(e, tail)
	return firstError(e.Flush(), postings.Err(), spans.Err())
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// writePostings writes all postings in the order of the directory.
func (r *Run) writePostings(w *flat.PageWriter) {
	buf, n, prev := make([]byte, 0, postingsPerPage*16), 0, r.seg.Base
	for _, s := range r.dir {
		i := r.a.touched[s.at].first
		for range s.Count {
			p := r.a.posting(i)
			buf = appendPosting(buf, p, prev)
			prev, n, i = p.LSN, n+1, r.a.rec(i).next
			if n == postingsPerPage {
				w.Write(buf)
				buf, n, prev = buf[:0], 0, r.seg.Base
			}
		}
	}
	if n > 0 {
		w.Write(buf)
	}
}

type key struct {
	topic ident.Topic
	queue ident.Queue
}

// writeSpans writes the directory and returns the first key of each page.
func (r *Run) writeSpans(w *flat.PageWriter) (keys []key) {
	var buf []byte
	ordinal := uint64(0)
	for start := 0; start < len(r.dir); start += spansPerPage {
		spans := r.dir[start:min(start+spansPerPage, len(r.dir))]
		keys = append(keys, key{spans[0].Topic, spans[0].Queue})
		buf = binary.AppendUvarint(buf[:0], ordinal)
		prev := key{}
		for _, s := range spans {
			buf = binary.AppendUvarint(buf, uint64(s.Topic-prev.topic))
			if s.Topic != prev.topic {
				prev.queue = 0
			}
			buf = binary.AppendUvarint(buf, uint64(s.Queue-prev.queue))
			buf = binary.AppendUvarint(buf, uint64(s.Base))
			buf = binary.AppendUvarint(buf, uint64(s.Count))
			prev = key{s.Topic, s.Queue}
			ordinal += uint64(s.Count)
		}
		w.Write(buf)
	}
	return keys
}

// WriteTimes writes the run's time table as a section of an index file. Equal
// runs write equal bytes.
func (r *Run) WriteTimes(w io.Writer) error {
	e := flat.NewEncoder(w)
	pages := flat.NewPageWriter(e)
	var buf []byte
	var firsts []int64
	for rest := []sample(r.a.times); len(rest) > 0; {
		samples := rest[:min(samplesPerPage, len(rest))]
		rest = rest[len(samples):]
		firsts = append(firsts, samples[0].ms)
		buf = appendSamples(buf[:0], samples, sample{ms: 0, lsn: r.seg.Base})
		pages.Write(buf)
	}
	tail := flat.AppendPageLens([]byte{sectionVersion}, pages.Ends())
	for _, ms := range firsts {
		tail = binary.AppendVarint(tail, ms)
	}
	lastMS := int64(0)
	if n := len(r.a.times); n > 0 {
		lastMS = r.a.times[n-1].ms
	}
	tail = binary.AppendVarint(tail, lastMS)
	flat.WriteTail(e, tail)
	return firstError(e.Flush(), pages.Err())
}

func appendSamples(dst []byte, samples []sample, prev sample) []byte {
	for _, s := range samples {
		dst = binary.AppendVarint(dst, s.ms-prev.ms)
		dst = binary.AppendUvarint(dst, uint64(s.lsn-prev.lsn)>>lsnShift)
		prev = s
	}
	return dst
}

// readSample reads the sample behind prev.
func readSample(d *flat.Decoder, prev sample) sample {
	ms := prev.ms + d.SV("sample time")
	return sample{ms, prev.lsn + ident.LSN(d.Max(math.MaxUint64>>lsnShift, "sample LSN")<<lsnShift)}
}
