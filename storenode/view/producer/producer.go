// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"cmp"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/view/flat"
)

const (
	// Window is how many numbers of a proxy are remembered.
	Window = 4096
	// ProxiesMax bounds the proxies of a shard.
	ProxiesMax = 256

	// slotsMin is what a quiet proxy costs: most are behind one send at a time.
	slotsMin = 64
)

// Windows is the fold. It is not safe for concurrent use.
type Windows struct{ proxies map[uint64]*window }

// window holds the newest messages of one proxy: seq is at slot seq modulo the
// number of slots, which grows up to Window as needed.
type window struct {
	highest uint64
	lastMS  int64
	slots   []slot
}

type slot struct {
	seq    uint64 // 0: empty
	lsn    ident.LSN
	offset ident.Offset
}

// Seen says what is known of a number.
type Seen struct {
	Duplicate bool
	TooOld    bool
	LSN       ident.LSN    // of the first one, when Duplicate
	Offset    ident.Offset // of the first one, when Duplicate
}

// New makes a view that remembers nobody.
func New() *Windows { return &Windows{proxies: map[uint64]*window{}} }

// numbered reports whether a message has a number at all.
func numbered(proxy, seq uint64) bool { return proxy != 0 && seq != 0 }

// Seen says whether a message with that number was applied before. One that has
// no number, proxy or seq 0, never was.
func (w *Windows) Seen(proxy, seq uint64) Seen {
	p := w.proxies[proxy]
	if p == nil || !numbered(proxy, seq) {
		return Seen{}
	}
	if p.stale(seq) {
		return Seen{TooOld: true}
	}
	if s := &p.slots[seq%uint64(len(p.slots))]; s.seq == seq {
		return Seen{Duplicate: true, LSN: s.lsn, Offset: s.offset}
	}
	return Seen{}
}

// Apply remembers where a message that was not seen before stands. One that has
// no number is nothing to remember.
func (w *Windows) Apply(proxy, seq uint64, lsn ident.LSN, offset ident.Offset, timeMS int64) {
	if !numbered(proxy, seq) {
		return
	}
	p := w.proxies[proxy]
	if p == nil {
		if len(w.proxies) >= ProxiesMax {
			w.forgetOldest()
		}
		p = &window{slots: make([]slot, slotsMin)}
		w.proxies[proxy] = p
	}
	p.put(slot{seq, lsn, offset})
	p.lastMS = timeMS
}

func (p *window) put(s slot) {
	p.highest = max(p.highest, s.seq)
	for {
		at := &p.slots[s.seq%uint64(len(p.slots))]
		if at.seq == 0 || p.stale(at.seq) || len(p.slots) == Window {
			*at = s
			return
		}
		old := p.slots
		p.slots = make([]slot, 2*len(old))
		for _, o := range old {
			if o.seq != 0 && !p.stale(o.seq) {
				p.slots[o.seq%uint64(len(p.slots))] = o
			}
		}
	}
}

// stale reports whether a number has fallen out of the window.
func (p *window) stale(seq uint64) bool { return p.highest >= Window && seq <= p.highest-Window }

func (w *Windows) forgetOldest() {
	oldest, first := uint64(0), true
	for id, p := range w.proxies { // the smallest of all: the order does not matter
		if first || cmp.Or(cmp.Compare(p.lastMS, w.proxies[oldest].lastMS), cmp.Compare(id, oldest)) < 0 {
			oldest, first = id, false
		}
	}
	delete(w.proxies, oldest)
}

// kept returns the remembered messages, by falling number.
func (p *window) kept() []slot {
	var all []slot
	for _, s := range p.slots {
		if s.seq != 0 && !p.stale(s.seq) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b slot) int { return cmp.Compare(b.seq, a.seq) })
	return all
}

const (
	checkpointVersion = 1
	proxyBytesMin     = 11
	slotBytesMin      = 3
)

// Checkpoint writes the view as doc.go draws it.
func (w *Windows) Checkpoint(out io.Writer) error {
	e := flat.NewEncoder(out)
	e.U8(checkpointVersion)
	e.UV(uint64(len(w.proxies)))
	for _, id := range slices.Sorted(maps.Keys(w.proxies)) {
		p := w.proxies[id]
		kept := p.kept()
		e.U64(id)
		e.SV(p.lastMS)
		e.UV(p.highest)
		e.UV(uint64(len(kept)))
		for _, s := range kept {
			e.UV(p.highest - s.seq)
			e.UV(uint64(s.lsn))
			e.UV(uint64(s.offset))
		}
	}
	return e.Flush()
}

// Restore replaces the view by what Checkpoint wrote. The caller bounds r. After
// an error, which is flat.ErrDamaged for damaged bytes, the view is as before.
func (w *Windows) Restore(r io.Reader) error {
	d, err := flat.ReadAll(r)
	if err != nil {
		return err
	}
	d.Version(checkpointVersion)
	n, last := New(), uint64(0)
	count := d.Count(proxyBytesMin, "proxies")
	if count > ProxiesMax {
		d.Fail("proxies")
	}
	for range count {
		id := d.U64("proxy")
		p := decodeWindow(d)
		if id <= last {
			d.Fail("order of proxies")
		}
		if !d.OK() {
			break
		}
		last = id
		n.proxies[id] = p
	}
	if err := d.Finish("the producer windows"); err != nil {
		return err
	}
	*w = *n
	return nil
}

func decodeWindow(d *flat.Decoder) *window {
	p := &window{lastMS: d.SV("last_ms"), highest: d.UV("highest"), slots: make([]slot, slotsMin)}
	last := uint64(math.MaxUint64)
	for i := range d.Count(slotBytesMin, "messages") {
		back := d.Max(Window-1, "seq")
		s := slot{seq: p.highest - back, lsn: ident.LSN(d.UV("lsn")), offset: ident.Offset(d.UV("offset"))}
		if back >= p.highest || s.seq >= last || i == 0 && back != 0 {
			d.Fail("seq")
		}
		if !d.OK() {
			return nil
		}
		last = s.seq
		p.put(s)
	}
	return p
}

// Digest is a hash of the whole view: equal on every replica that has applied
// the same entries.
func (w *Windows) Digest() uint64 {
	h := xxhash.New()
	if err := w.Checkpoint(h); err != nil {
		return 0 // a hash does not fail
	}
	return h.Sum64()
}
