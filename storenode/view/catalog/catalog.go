// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"bytes"
	"cmp"
	"io"
	"iter"
	"maps"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view/flat"
)

type key struct {
	kind record.ConfigKind
	id   uint64
}

func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.kind, o.kind), cmp.Compare(k.id, o.id))
}

// Catalog is the fold. It is not safe for concurrent use.
type Catalog struct{ newest map[key]record.Config }

// New makes an empty catalog.
func New() *Catalog { return &Catalog{newest: map[key]record.Config{}} }

// Apply takes a configuration over and reports whether it is news: newer than
// the one known. It keeps a copy of the bytes, except of deleted ones. A start
// rule is always news and is not kept.
func (c *Catalog) Apply(b *record.Config) bool {
	if b.Kind == record.ConfigStart {
		return true
	}
	k := key{b.Kind, b.ID}
	if old, known := c.newest[k]; known && !newer(b, &old) {
		return false
	}
	kept := *b
	kept.Bytes = bytes.Clone(b.Bytes)
	if b.Deleted {
		kept.Bytes = nil
	}
	c.newest[k] = kept
	return true
}

func newer(b, old *record.Config) bool {
	return cmp.Or(cmp.Compare(b.RestoreEpoch, old.RestoreEpoch), cmp.Compare(b.Revision, old.Revision)) > 0
}

// Get returns the newest configuration of an object, also of a deleted one.
// Its bytes must not be changed.
func (c *Catalog) Get(kind record.ConfigKind, id uint64) (record.Config, bool) {
	b, ok := c.newest[key{kind, id}]
	return b, ok
}

// All yields everything, sorted by kind and id.
func (c *Catalog) All() iter.Seq[record.Config] {
	return func(yield func(record.Config) bool) {
		for _, k := range slices.SortedFunc(maps.Keys(c.newest), key.compare) {
			if !yield(c.newest[k]) {
				return
			}
		}
	}
}

const (
	checkpointVersion = 1
	itemBytesMin      = 6
)

// Checkpoint writes the view as doc.go draws it.
func (c *Catalog) Checkpoint(w io.Writer) error {
	e := flat.NewEncoder(w)
	e.U8(checkpointVersion)
	e.UV(uint64(len(c.newest)))
	for b := range c.All() {
		e.U8(uint8(b.Kind))
		e.UV(b.ID)
		e.UV(b.RestoreEpoch)
		e.UV(b.Revision)
		e.Flag(b.Deleted)
		e.Str(b.Bytes)
	}
	return e.Flush()
}

// Restore replaces the view by what Checkpoint wrote. The caller bounds r. After
// an error, which is flat.ErrDamaged for damaged bytes, the view is as before.
func (c *Catalog) Restore(r io.Reader) error {
	d, err := flat.ReadAll(r)
	if err != nil {
		return err
	}
	d.Version(checkpointVersion)
	n, last := New(), key{}
	for range d.Count(itemBytesMin, "count") {
		b := record.Config{
			Kind: record.ConfigKind(d.U8("kind")), ID: d.UV("id"), RestoreEpoch: d.UV("restore epoch"),
			Revision: d.Max(math.MaxInt64, "revision"), Deleted: d.Flag("deleted"), Bytes: d.Str("bytes"),
		}
		k := key{b.Kind, b.ID}
		if k.compare(last) <= 0 || k.kind == record.ConfigStart || b.Deleted && len(b.Bytes) > 0 {
			d.Fail("order")
		}
		if !d.OK() {
			break
		}
		last = k
		n.Apply(&b)
	}
	if err := d.Finish("the catalog"); err != nil {
		return err
	}
	*c = *n
	return nil
}

// Digest is a hash of the whole view: equal on every replica that has applied
// the same entries.
func (c *Catalog) Digest() uint64 {
	h := xxhash.New()
	if err := c.Checkpoint(h); err != nil {
		return 0 // a hash does not fail
	}
	return h.Sum64()
}
