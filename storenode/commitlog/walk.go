// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"context"
	"fmt"
	"io"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

// damage is what a walk stumbled over: the bytes at lsn are no entry that
// continues the log. It may be the end, a torn tail, or corruption.
type damage struct {
	lsn    ident.LSN
	reason error
	unread bool // the bytes could not be read at all
}

func (d *damage) Error() string { return fmt.Sprintf("LSN %d: %v", d.lsn, d.reason) }

func (d *damage) Unwrap() error { return d.reason }

// walker goes through entries in order with large reads and checks everything
// that can be checked: CRC, self-address, chain, terms and times, padding.
type walker struct {
	list  segments
	i     int // current segment
	pos   ident.LSN
	to    ident.LSN // never goes beyond
	chain Tail      // behind the entry before pos; Terms are kept by Recover only
	known bool      // chain is known
	// trusting walks through segments whose header is damaged.
	trusting bool

	buf   []byte
	at    ident.LSN // of buf[0]
	n     int       // valid bytes in buf
	entry record.Entry
}

// newWalker stands at the base of the segment that holds from.
func newWalker(list segments, from, to ident.LSN) *walker {
	w := &walker{list: list, i: max(0, list.find(from)), to: to, buf: make([]byte, list.chunk())}
	s := list[w.i]
	w.pos, w.chain, w.known = s.base, s.tail.clone(), s.damage == nil
	return w
}

// startAt moves to an entry boundary inside the segment, where the chain is
// known if tail is given, and is otherwise taken from the first entry.
func (w *walker) startAt(from ident.LSN, tail *Tail) {
	w.pos = from
	if tail != nil {
		w.chain, w.known = tail.clone(), true
		if tail.Sealed && w.i+1 == len(w.list) && from > w.list[w.i].base {
			w.to = from
		}
	} else if from != w.list[w.i].base {
		w.chain, w.known = Tail{}, false
	}
}

// next moves to the next entry, which stays valid until the call after. The
// error is io.EOF at `to` and behind a Seal that no segment follows, that of the
// context when it ends, and else a *damage.
func (w *walker) next(ctx context.Context) (*record.Entry, error) {
	if w.pos >= w.to {
		return nil, io.EOF
	}
	s := w.list[w.i]
	if s.damage != nil && !w.trusting {
		return nil, &damage{lsn: w.pos, reason: s.damage, unread: s.unread}
	}
	b, err := w.fill(ctx, record.HeaderSize)
	if err != nil {
		return nil, err
	}
	if len(b) < record.HeaderSize {
		return nil, &damage{lsn: w.pos, reason: fmt.Errorf("%w: %d bytes left", record.ErrDamaged, len(b))}
	}
	n, err := record.PeekLen(b)
	if err != nil {
		return nil, &damage{lsn: w.pos, reason: err}
	}
	if b, err = w.fill(ctx, record.Padded(n)); err != nil {
		return nil, err
	}
	w.entry, err = record.Decode(b, w.pos)
	if err == nil {
		err = w.check(b)
	}
	if err != nil {
		return nil, &damage{lsn: w.pos, reason: err}
	}
	w.advance()
	return &w.entry, nil
}

// check judges what Decode cannot: b begins with the entry and its padding.
func (w *walker) check(b []byte) error {
	e := &w.entry
	padded := record.Padded(int(e.Len))
	switch {
	case len(b) < padded || !allZero(b[e.Len:padded]):
		return errPadding
	case !w.known:
		return nil
	case e.PrevCRC != w.chain.CRC:
		return fmt.Errorf("%w: chain broken, previous CRC %08x, want %08x", record.ErrDamaged, e.PrevCRC, w.chain.CRC)
	case e.Term < w.chain.Term:
		return fmt.Errorf("%w: term %d after %d", record.ErrDamaged, e.Term, w.chain.Term)
	case e.TimeMS < w.chain.TimeMS:
		return fmt.Errorf("%w: time %d after %d", record.ErrDamaged, e.TimeMS, w.chain.TimeMS)
	}
	return nil
}

// advance steps over the entry, into the next segment if it was a Seal.
func (w *walker) advance() {
	e := &w.entry
	w.chain.begin(e.Term, e.LSN)
	w.chain.CRC, w.chain.Term, w.chain.TimeMS, w.known = e.CRC, e.Term, e.TimeMS, true
	w.chain.Sealed = e.Type == record.TypeSeal
	w.pos = e.End()
	if !w.chain.Sealed {
		return
	}
	if w.i+1 == len(w.list) {
		w.to = w.pos
		return
	}
	if w.list[w.i+1].base == w.pos {
		w.i++
	}
}

// fill returns the bytes from pos on, at least need of them if the segment has
// so many.
func (w *walker) fill(ctx context.Context, need int) ([]byte, error) {
	if off := w.pos - w.at; w.pos >= w.at && int(off)+need <= w.n { //nolint:gosec // off is below n
		return w.buf[off:w.n], nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if need > len(w.buf) {
		w.buf = make([]byte, need)
	}
	s := w.list[w.i]
	room := int64(s.base) + s.capacity - int64(w.pos) //nolint:gosec // LSNs of files are far below 2^63
	if w.i+1 < len(w.list) {
		room = min(room, int64(w.list[w.i+1].base-w.pos)) //nolint:gosec // ditto
	}
	n, err := s.readAt(w.buf[:max(0, min(room, int64(len(w.buf))))], w.pos)
	if err != nil {
		return nil, &damage{lsn: w.pos, reason: err, unread: true}
	}
	w.at, w.n = w.pos, n
	return w.buf[:n], nil
}
