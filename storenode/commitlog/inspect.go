// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

// Inspection reads a log's folder and changes nothing in it, whoever owns it
// and whatever state it is in. It may look at a log that is in use: what it then
// takes for the end is what had been written when it came there.
type Inspection struct {
	list    segments
	headers []Header
}

// Header is what a segment file says of itself.
type Header struct {
	Base     ident.LSN
	Cluster  uint64
	Shard    ident.Shard
	Capacity int64 // log bytes that the segment may hold
	Spare    bool  // made of the spare of a full disk
	Before   Tail  // the log before base
	Damage   error // the header cannot be read; all but Base is unknown then
}

// Gap is a piece of log that is no whole entry.
type Gap struct {
	From ident.LSN
	To   ident.LSN // the next whole entry; 0: none follows
	Err  error
	// Empty: nothing was written where an entry would begin. With To = 0 that is
	// the end of a healthy log.
	Empty bool
}

// Inspect opens the segment files in the folder. A newer format is
// fault.Incompatible, a folder without a segment fault.NotFound.
func Inspect(fs disk.FS, dir string) (*Inspection, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fault.E("commitlog.Inspect", fault.NotFound, err)
	}
	in := &Inspection{}
	for _, name := range names {
		base, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		if err := in.add(fs, dir, base); err != nil {
			return nil, fault.E("commitlog.Inspect", fault.Other, errors.Join(err, in.Close()))
		}
	}
	if len(in.list) == 0 {
		return nil, fault.Errorf("commitlog.Inspect", fault.NotFound, "%s holds no segment", dir)
	}
	return in, nil
}

func (in *Inspection) add(fs disk.FS, dir string, base ident.LSN) error {
	f, err := fs.Open(segmentName(dir, base), disk.ReadOnly)
	if err != nil {
		return err
	}
	b := make([]byte, HeaderBytes)
	s := &segment{area: &area{f: f}, base: base}
	in.list = append(in.list, s)
	n, err := s.readAt(b, base-HeaderBytes)
	if err != nil {
		s.unread = true
	}
	h, herr := decodeHeader(b[:n])
	if errors.Is(herr, errNewerFormat) {
		return fault.E("", fault.Incompatible, herr)
	}
	if err == nil {
		err = herr
	}
	if err == nil && h.base != base {
		err = fmt.Errorf("segment header: base %d in a file named %d", h.base, base)
	}
	size, serr := f.Size()
	if serr != nil {
		return serr
	}
	s.capacity = max(0, size-HeaderBytes)
	if err == nil {
		s.tail = h.tail
	}
	s.damage = err
	in.headers = append(in.headers, Header{
		Base: base, Cluster: h.cluster, Shard: h.shard, Capacity: h.capacity, Spare: h.spare, Before: h.tail, Damage: err,
	})
	return nil
}

// Close closes the files.
func (in *Inspection) Close() error {
	var err error
	for _, s := range in.list {
		err = errors.Join(err, s.close())
	}
	return err
}

// Headers are those of the segments, oldest first.
func (in *Inspection) Headers() []Header { return in.headers }

// Scan calls visit for the whole entries in [from, to), oldest first, and gap
// for what lies between them; to = 0 means to the end. Where the chain breaks the
// scan goes on at the next whole entry; the last call is of gap, with To = 0,
// where nothing follows. The entry is valid during the call. Errors of visit and
// gap end the scan.
func (in *Inspection) Scan(
	ctx context.Context, from, to ident.LSN, visit func(*record.Entry) error, gap func(Gap) error,
) error {
	if to == 0 {
		to = ^ident.LSN(0)
	}
	w := newWalker(in.list, from, to)
	w.trusting = true
	for {
		e, err := w.next(ctx)
		var bad *damage
		switch {
		case errors.As(err, &bad):
			empty := w.empty(ctx)
			next, serr := in.resume(ctx, w, bad)
			if serr != nil {
				return serr
			}
			if next != 0 && next <= from {
				continue
			}
			if err := gap(Gap{From: bad.lsn, To: next, Err: bad.reason, Empty: empty}); err != nil || next == 0 {
				return err
			}
		case errors.Is(err, io.EOF) && w.pos >= to:
			return nil
		case errors.Is(err, io.EOF):
			return gap(Gap{From: w.pos, Err: errors.New("no segment follows the Seal")})
		case err != nil:
			return err
		case e.LSN >= from:
			if err := visit(e); err != nil {
				return err
			}
		}
	}
}

// empty reports that the header of the entry to come is zeros, or that the file
// ends before it.
func (w *walker) empty(ctx context.Context) bool {
	b, err := w.fill(ctx, record.HeaderSize)
	return err == nil && allZero(b[:min(len(b), record.HeaderSize)])
}

// resume moves the walker to the next whole entry, 0 if there is none. The bad
// one itself may be whole, and only not continue the chain.
func (in *Inspection) resume(ctx context.Context, w *walker, bad *damage) (ident.LSN, error) {
	behind := bad.lsn
	if !errors.Is(bad, errPadding) {
		behind -= record.Align
	}
	next, seg, err := first(ctx, in.list[w.i:], behind)
	if err != nil || next == 0 {
		return 0, err
	}
	w.i += seg
	w.startAt(next, nil)
	w.known = false
	return next, nil
}
