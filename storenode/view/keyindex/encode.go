// SPDX-License-Identifier: Apache-2.0

package keyindex

import (
	"cmp"
	"encoding/binary"
	"io"
	"math/bits"
	"slices"

	"github.com/mansiomq/mansio/storenode/view/flat"
)

// The numbers of the section format, version 1; see doc.go. They never change.
const (
	sectionVersion = 1
	pairsPerPage   = 256
	tailHead       = 1 + 8 + 8 + 8
	tailPage       = 8 + 4 + 4
)

// pair is an entry of a section: lsn in units of 8 from the segment's base.
type pair struct {
	hash uint64
	lsn  uint32
}

func (p pair) compare(o pair) int {
	if p.hash != o.hash {
		return cmp.Compare(p.hash, o.hash)
	}
	return cmp.Compare(p.lsn, o.lsn)
}

// WriteKeys writes the run's keys as a section of an index file. Equal runs
// write equal bytes.
func (r *Run) WriteKeys(w io.Writer) error { return writeSection(w, r, sorted(r, &r.keys)) }

// WriteIDs writes the run's ids as a section of an index file. Equal runs write
// equal bytes.
func (r *Run) WriteIDs(w io.Writer) error { return writeSection(w, r, sorted(r, &r.ids)) }

// bucketBits is how many of a hash's first bits choose its bucket: a segment of
// 256 k messages has buckets of 64, which sort in the cache.
const bucketBits = 12

// sorted returns the pairs of a list in order, each once. Hashes are uniform, so
// dealing them into buckets leaves little to sort.
func sorted[H uint32 | uint64](r *Run, l *list[H]) []pair {
	var zero H
	down := bits.Len64(uint64(^zero)) - bucketBits
	var ends [1 << bucketBits]int
	for i := range l.n {
		h, _ := l.at(i)
		ends[h>>down]++
	}
	sum := 0
	for i, n := range &ends {
		ends[i] = sum
		sum += n
	}
	shift := uint32((r.base - r.seg.Base) >> lsnShift) //nolint:gosec // inside a segment
	pairs := make([]pair, l.n)
	for i := range l.n {
		h, d := l.at(i)
		pairs[ends[h>>down]] = pair{uint64(h), d + shift}
		ends[h>>down]++
	}
	start := 0
	for _, end := range &ends {
		slices.SortFunc(pairs[start:end], pair.compare)
		start = end
	}
	return slices.Compact(pairs)
}

func writeSection(w io.Writer, r *Run, pairs []pair) error {
	e := flat.NewEncoder(w)
	pages := flat.NewPageWriter(e)
	tail := []byte{sectionVersion}
	tail = binary.LittleEndian.AppendUint64(tail, uint64(r.seg.Base))
	tail = binary.LittleEndian.AppendUint64(tail, uint64(r.seg.End))
	tail = binary.LittleEndian.AppendUint64(tail, uint64(len(pairs)))
	var buf []byte
	for part := range slices.Chunk(pairs, pairsPerPage) {
		buf = buf[:0]
		prev := pair{}
		for _, p := range part {
			buf = p.append(buf, prev)
			prev = p
		}
		pages.Write(buf)
		if err := pages.Err(); err != nil {
			return err
		}
		tail = binary.LittleEndian.AppendUint64(tail, part[0].hash)
		tail = binary.LittleEndian.AppendUint32(tail, part[0].lsn)
		tail = binary.LittleEndian.AppendUint32(tail, pages.Ends()[pages.Count()-1])
	}
	flat.WriteTail(e, tail)
	return e.Flush()
}

func (p pair) append(dst []byte, prev pair) []byte {
	dst = binary.AppendUvarint(dst, p.hash-prev.hash)
	if p.hash != prev.hash {
		prev.lsn = 0
	}
	return binary.AppendUvarint(dst, uint64(p.lsn-prev.lsn))
}

// readPair reads the pair behind prev.
func readPair(d *flat.Decoder, prev pair) pair {
	step := d.Max(^uint64(0)-prev.hash, "hash")
	if step != 0 {
		prev.lsn = 0
	}
	lsn := d.Max(uint64(^uint32(0)-prev.lsn), "lsn")
	return pair{prev.hash + step, prev.lsn + uint32(lsn)} //nolint:gosec // bounded by Max
}
