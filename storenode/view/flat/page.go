// SPDX-License-Identifier: Apache-2.0

package flat

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

const crcSize = 4

// PageBytesMax bounds a page, so that a damaged table of page ends cannot make
// a reader allocate more.
const PageBytesMax = 1 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// PageWriter writes pages to an encoder and remembers where each one ends.
type PageWriter struct {
	e     *Encoder
	start int64
	ends  []uint32
	err   error
}

// NewPageWriter makes a writer of pages that begin where e stands now.
func NewPageWriter(e *Encoder) *PageWriter { return &PageWriter{e: e, start: e.Written()} }

// Write writes one page.
func (w *PageWriter) Write(payload []byte) {
	w.e.Raw(payload)
	w.e.U32(crc32.Checksum(payload, castagnoli))
	end := w.e.Written() - w.start
	if end > math.MaxUint32 || len(payload)+crcSize > PageBytesMax {
		w.err = fmt.Errorf("flat: page of %d bytes ending at %d is too large", len(payload), end)
		return
	}
	w.ends = append(w.ends, uint32(end)) //nolint:gosec // checked above
}

// Count is the number of pages written.
func (w *PageWriter) Count() int { return len(w.ends) }

// Ends is where each page ends, counted from the first one's start.
func (w *PageWriter) Ends() []uint32 { return w.ends }

// Err reports a page that could not be written as it must.
func (w *PageWriter) Err() error { return w.err }

// Pages reads pages. It keeps only where they end, and is safe for concurrent
// use if R is.
type Pages struct {
	R    io.ReaderAt
	At   int64    // where the first page starts in R
	Ends []uint32 // where each page ends, counted from At
}

// Count is the number of pages.
func (p *Pages) Count() int { return len(p.Ends) }

// Read reads and checks page i into *buf, which it grows if it must, and returns
// the payload, which shares the buffer's memory.
func (p *Pages) Read(i int, buf *[]byte) (payload []byte, err error) {
	start := int64(0)
	if i > 0 {
		start = int64(p.Ends[i-1])
	}
	n := int64(p.Ends[i]) - start
	if n < crcSize || n > PageBytesMax {
		return nil, fmt.Errorf("%w: page %d has %d bytes", ErrDamaged, i, n)
	}
	if int64(cap(*buf)) < n {
		*buf = make([]byte, n)
	}
	page := (*buf)[:n]
	if _, err := p.R.ReadAt(page, p.At+start); err != nil {
		return nil, fmt.Errorf("flat: reading page %d: %w", i, err)
	}
	return unseal(page, i)
}

// unseal checks the CRC at the end of page i and returns what stands before it.
func unseal(page []byte, i int) ([]byte, error) {
	payload := page[: len(page)-crcSize : len(page)-crcSize]
	want := binary.LittleEndian.Uint32(page[len(payload):])
	if got := crc32.Checksum(payload, castagnoli); got != want {
		return nil, fmt.Errorf("%w: page %d: CRC %08x, want %08x", ErrDamaged, i, got, want)
	}
	return payload, nil
}

// tailBytesMax bounds a tail, for the same reason as PageBytesMax.
const tailBytesMax = 256 << 20

// WriteTail ends a section with a table that says how to read what precedes:
//
//	tail := payload ‖ crc32c(payload) u32 ‖ len(payload) u32
func WriteTail(e *Encoder, payload []byte) {
	e.Raw(payload)
	e.U32(crc32.Checksum(payload, castagnoli))
	e.U32(uint32(len(payload))) //nolint:gosec // callers bound sections to 4 GiB
}

// ReadTail reads and checks the tail of a section and returns its payload and
// where it starts.
func ReadTail(r *io.SectionReader) (payload []byte, at int64, err error) {
	const fixed = 2 * crcSize
	var end [fixed]byte
	at = r.Size() - fixed
	if at < 0 {
		return nil, 0, fmt.Errorf("%w: section of %d bytes", ErrDamaged, r.Size())
	}
	if _, err := r.ReadAt(end[:], at); err != nil {
		return nil, 0, fmt.Errorf("flat: reading a tail: %w", err)
	}
	n := int64(binary.LittleEndian.Uint32(end[crcSize:]))
	if n > at || n > tailBytesMax {
		return nil, 0, fmt.Errorf("%w: tail of %d bytes in a section of %d", ErrDamaged, n, r.Size())
	}
	payload = make([]byte, n)
	at -= n
	if _, err := r.ReadAt(payload, at); err != nil {
		return nil, 0, fmt.Errorf("flat: reading a tail: %w", err)
	}
	want := binary.LittleEndian.Uint32(end[:])
	if got := crc32.Checksum(payload, castagnoli); got != want {
		return nil, 0, fmt.Errorf("%w: tail: CRC %08x, want %08x", ErrDamaged, got, want)
	}
	return payload, at, nil
}

// PageEnd reads the length of the page that starts at prev and returns its end.
func (d *Decoder) PageEnd(prev uint32) uint32 {
	return prev + uint32(d.Max(uint64(math.MaxUint32-prev), "page length")) //nolint:gosec // bounded
}

// AppendPageLens encodes the lengths of pages, as PageEnd reads them, with their
// number in front.
func AppendPageLens(dst []byte, ends []uint32) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ends)))
	prev := uint32(0)
	for _, end := range ends {
		dst = binary.AppendUvarint(dst, uint64(end-prev))
		prev = end
	}
	return dst
}

// PageEnds reads what AppendPageLens wrote.
func (d *Decoder) PageEnds() []uint32 {
	n := d.Count(1, "page count")
	ends := make([]uint32, n)
	prev := uint32(0)
	for i := range ends {
		prev = d.PageEnd(prev)
		ends[i] = prev
	}
	return ends
}
