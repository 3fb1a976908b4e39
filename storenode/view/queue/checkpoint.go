// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"io"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/view/flat"
)

const checkpointVersion = 1

// Checkpoint writes the view, its active postings included, as doc.go draws it.
// Equal views write equal bytes.
func (q *Queues) Checkpoint(w io.Writer) error {
	e := flat.NewEncoder(w)
	e.U8(checkpointVersion)
	e.UV(uint64(q.active.base))
	e.UV(uint64(q.last))
	e.UV(uint64(q.Len())) //nolint:gosec // not negative
	for i := range q.entries {
		if en := &q.entries[i]; !en.dead() {
			q.encodeEntry(e, en)
		}
	}
	e.UV(uint64(len(q.active.times)))
	prev := sample{lsn: q.active.base}
	var buf []byte
	for i := range q.active.times {
		buf = appendSamples(buf[:0], q.active.times[i:i+1], prev)
		e.Raw(buf)
		prev = q.active.times[i]
	}
	return e.Flush()
}

func (q *Queues) encodeEntry(e *flat.Encoder, en *entry) {
	e.UV(uint64(en.topic))
	e.UV(uint64(en.queue))
	e.UV(uint64(en.min))
	e.UV(uint64(en.next - en.min))
	if en.touched == none {
		e.UV(0)
		return
	}
	hot := &q.active.touched[en.touched]
	e.UV(uint64(hot.count))
	var buf [32]byte
	prev, i := q.active.base, hot.first
	for range hot.count {
		p := q.active.posting(i)
		e.Raw(appendPosting(buf[:0], p, prev))
		prev, i = p.LSN, q.active.rec(i).next
	}
}

// Restore replaces the view by what Checkpoint wrote. The caller bounds r. After
// an error, which is flat.ErrDamaged for damaged bytes, the view is as before.
func (q *Queues) Restore(r io.Reader) error {
	d, err := flat.ReadAll(r)
	if err != nil {
		return err
	}
	d.Version(checkpointVersion)
	n := New(ident.LSN(d.Max(math.MaxInt64, "base")))
	n.last = ident.LSN(d.Max(math.MaxInt64, "last LSN"))
	if n.active.base&(1<<lsnShift-1) != 0 {
		d.Fail("base")
	}
	for range d.Count(entryBytesMin, "queue count") {
		n.decodeEntry(d)
	}
	prev := sample{lsn: n.active.base}
	for i := range d.Count(2, "sample count") {
		s := readSample(d, prev)
		if i > 0 && s.ms <= prev.ms || s.lsn > n.last {
			d.Fail("sample")
		}
		if !d.OK() {
			break
		}
		n.active.times.note(s.ms, s.lsn)
		prev = s
	}
	if err := d.Finish("the queue view"); err != nil {
		return err
	}
	*q = *n
	return nil
}

// entryBytesMin is the least that one queue takes in a checkpoint.
const entryBytesMin = 5

func (q *Queues) decodeEntry(d *flat.Decoder) {
	t, qu := ident.Topic(d.UV("topic")), ident.Queue(d.UV("queue"))
	minimum := d.UV("min")
	next := minimum + d.Max(math.MaxUint64-minimum, "next")
	count := d.Count(2, "active postings")
	if _, twice := q.table.find(q.entries, t, qu); t == 0 || twice || uint64(count) > next { //nolint:gosec // not negative
		d.Fail("queue")
	}
	if !d.OK() {
		return
	}
	slot := q.create(t, qu, ident.Offset(minimum), ident.Offset(next))
	if count == 0 {
		return
	}
	at := uint32(len(q.active.touched)) //nolint:gosec // fewer than slots
	q.entries[slot].touched = at
	q.active.touched = append(q.active.touched, touched{slot: slot})
	prev := q.active.base
	for i := range count {
		p := readPosting(d, prev)
		if i > 0 && p.LSN <= prev || p.LSN < q.active.base || p.LSN > q.last || (p.LSN-q.active.base)>>lsnShift > math.MaxUint32 {
			d.Fail("posting LSN")
		}
		if !d.OK() {
			return
		}
		q.active.add(at, p)
		prev = p.LSN
	}
}

// Digest is a hash of the whole view: equal on every replica that has applied
// the same entries.
func (q *Queues) Digest() uint64 {
	h := xxhash.New()
	if err := q.Checkpoint(h); err != nil {
		return 0 // a hash does not fail
	}
	return h.Sum64()
}
