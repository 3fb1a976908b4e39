// SPDX-License-Identifier: Apache-2.0

package keyindex

import (
	"io"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/view/flat"
)

const checkpointVersion = 1

// Checkpoint writes the view as doc.go draws it. Equal views write equal bytes.
func (x *Index) Checkpoint(w io.Writer) error {
	e := flat.NewEncoder(w)
	e.U8(checkpointVersion)
	e.UV(uint64(x.base))
	encode(e, &x.keys, e.U32)
	encode(e, &x.ids, e.U64)
	return e.Flush()
}

func encode[H uint32 | uint64](e *flat.Encoder, l *list[H], put func(H)) {
	e.UV(uint64(l.n)) //nolint:gosec // not negative
	prev := uint32(0)
	for i := range l.n {
		h, lsn := l.at(i)
		put(h)
		e.UV(uint64(lsn - prev))
		prev = lsn
	}
}

// Restore replaces the view by what Checkpoint wrote. The caller bounds r. After
// an error, which is flat.ErrDamaged for damaged bytes, the view is as before.
func (x *Index) Restore(r io.Reader) error {
	d, err := flat.ReadAll(r)
	if err != nil {
		return err
	}
	d.Version(checkpointVersion)
	n := Index{base: ident.LSN(d.Max(math.MaxInt64, "base"))}
	decode(d, &n.keys, 5, d.U32)
	decode(d, &n.ids, 9, d.U64)
	if n.base&(1<<lsnShift-1) != 0 || n.Len() == 0 && n.base != 0 {
		d.Fail("base")
	}
	if err := d.Finish("the key index"); err != nil {
		return err
	}
	*x = n
	return nil
}

func decode[H uint32 | uint64](d *flat.Decoder, l *list[H], bytesMin int, get func(string) H) {
	prev := uint32(0)
	for range d.Count(bytesMin, "number of hashes") {
		h := get("hash")
		prev += uint32(d.Max(uint64(math.MaxUint32-prev), "lsn")) //nolint:gosec // bounded by Max
		if !d.OK() {
			return
		}
		l.add(h, prev)
	}
}

// Digest is a hash of the whole view: equal on every replica that has applied
// the same entries.
func (x *Index) Digest() uint64 {
	h := xxhash.New()
	if err := x.Checkpoint(h); err != nil {
		return 0 // a hash does not fail
	}
	return h.Sum64()
}
