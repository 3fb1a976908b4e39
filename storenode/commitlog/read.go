// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

var errPadding = fmt.Errorf("%w: padding is not zero", record.ErrDamaged)

// Read returns the entry at lsn, from memory if it is new enough, else with one
// pread, or two for an entry larger than a page or than buf. It checks CRC,
// self-address and padding. Body points into the returned buffer, which is buf,
// or a larger one if buf is too small; nothing else keeps it.
//
// fault.NotFound: lsn is below Start, not below End, or was trimmed meanwhile.
// fault.Corrupt: the bytes there are no entry. Any number of calls may run at
// once, and beside all other methods.
func (l *Log) Read(lsn ident.LSN, buf []byte) (record.Entry, []byte, error) {
	if lsn < l.Start() || lsn >= l.End() {
		return record.Entry{}, buf, fault.Errorf("commitlog.Read", fault.NotFound, "LSN %d is not in [%d, %d)",
			lsn, l.Start(), l.End())
	}
	if cap(buf) < pointRead {
		buf = make([]byte, pointRead)
	}
	buf = buf[:cap(buf)]
	e, buf, err := l.read(lsn, buf)
	switch {
	case err == nil:
		return e, buf, nil
	case errors.Is(err, errGone) || lsn < l.Start():
		return record.Entry{}, buf, fault.Errorf("commitlog.Read", fault.NotFound, "LSN %d was trimmed", lsn)
	}
	return record.Entry{}, buf, fault.E("commitlog.Read", fault.Corrupt, err)
}

func (l *Log) read(lsn ident.LSN, buf []byte) (record.Entry, []byte, error) {
	buf, n, ok := l.ring.entry(buf, lsn)
	var err error
	if !ok {
		n, err = l.fetch(buf, lsn)
	}
	if err != nil {
		return record.Entry{}, buf, err
	}
	if n < record.HeaderSize {
		_, err := record.Decode(buf[:n], lsn)
		return record.Entry{}, buf, err
	}
	size, err := record.PeekLen(buf)
	if err != nil {
		return record.Entry{}, buf, err
	}
	if padded := record.Padded(size); padded > n {
		if padded > len(buf) {
			buf = make([]byte, padded)
		}
		if n, err = l.fetch(buf[:padded], lsn); err != nil {
			return record.Entry{}, buf, err
		}
	}
	e, err := record.Decode(buf[:n], lsn)
	if err != nil {
		return e, buf, err
	}
	if padded := record.Padded(size); n < padded || !allZero(buf[size:padded]) {
		return e, buf, errPadding
	}
	return e, buf, nil
}

// fetch reads bytes at lsn from the segment that holds it, never from beyond
// End.
func (l *Log) fetch(b []byte, lsn ident.LSN) (int, error) {
	list := *l.segs.Load()
	i := list.find(lsn)
	if i < 0 {
		return 0, errGone
	}
	limit := list.limit(i, l.End())
	return list[i].readAt(b[:min(uint64(len(b)), uint64(limit-lsn))], lsn)
}

// Scan calls visit for every entry in [from, to), in order, with large reads
// that bypass the ring; to = 0 means End as it is now, and must be given before
// Recover. from must be an entry boundary. The entry is valid during the call; an error of visit ends the scan
// with that error. All checks of Recover are made; damage is a *CorruptionError
// of kind fault.Corrupt, a range that is not there fault.NotFound.
func (l *Log) Scan(ctx context.Context, from, to ident.LSN, visit func(*record.Entry) error) error {
	if to == 0 {
		to = l.End()
	}
	l.mu.Lock()
	beyond := l.recovered && to > l.End()
	l.mu.Unlock()
	list := *l.segs.Load()
	if from < l.Start() || beyond || list.find(from) < 0 {
		return fault.Errorf("commitlog.Scan", fault.NotFound, "[%d, %d) is not in [%d, %d)", from, to, l.Start(), l.End())
	}
	w := newWalker(list, from, to)
	w.startAt(from, nil)
	for {
		e, err := w.next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = visit(e)
		}
		if err == nil {
			continue
		}
		var bad *damage
		switch {
		case !errors.As(err, &bad):
		case errors.Is(err, errGone):
			err = fault.E("commitlog.Scan", fault.NotFound, err)
		default:
			err = fault.E("commitlog.Scan", fault.Corrupt, &CorruptionError{LSN: bad.lsn, LostTo: to, Reason: bad.reason.Error()})
		}
		return err
	}
}
