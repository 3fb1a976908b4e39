// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"slices"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view/keyindex"
)

// scanBytesMax bounds how much log one query by time reads; the answer then says
// that there may be more.
const scanBytesMax = 64 << 20

// candidatesMax is how many LSNs are asked for at once: a common key has many,
// and most queries want few.
const candidatesMax = 256

// search finds messages on a reader goroutine; limit is the end of what is
// committed, active what the active segment has.
func (s *Shard) search(r *storeapi.Query, active *keyindex.Run, limit ident.LSN) (*storeapi.QueryResult, error) {
	f := &found{max: min(max(r.Max, 1), queryMax)}
	q := keyindex.Query{From: r.After + 1, To: limit, Max: candidatesMax}
	switch {
	case r.MessageID != "":
		q.Key = keyindex.OfID(ident.Hash64(r.MessageID))
	case r.Key != "":
		q.Key = keyindex.OfKey(r.Topic, ident.Hash32(r.Key))
	default:
		err := s.searchTime(r, f, limit)
		return &f.result, err
	}
	for {
		lsns, more, err := s.keys.Find(nil, active, q)
		if err != nil {
			return nil, err
		}
		for _, lsn := range lsns {
			m, err := s.storedAt(lsn, 0)
			switch {
			case fault.Is(err, fault.NotFound):
				continue // retention took it meanwhile
			case err != nil:
				return nil, err
			case !matches(r, m.payload):
				continue
			case !f.add(&m):
				return &f.result, nil
			}
		}
		if !more {
			return &f.result, nil
		}
		q.From = lsns[len(lsns)-1] + 1
	}
}

// errEnough ends a scan.
var errEnough = errors.New("enough")

// searchTime reads the log from the segment in which the time begins.
func (s *Shard) searchTime(r *storeapi.Query, f *found, limit ident.LSN) error {
	from := s.commitlog.Start()
	for _, g := range s.commitlog.Segments() {
		if g.FirstTimeMS != 0 && g.FirstTimeMS < r.FromMS || g.Base <= r.After {
			from = g.Base
		}
	}
	scanned := from
	err := s.commitlog.Scan(s.life, from, limit, func(e *record.Entry) error {
		if e.TimeMS >= r.ToMS {
			return errEnough
		}
		if e.LSN-scanned > scanBytesMax {
			f.result.More = true
			return errEnough
		}
		if e.LSN <= r.After || e.TimeMS < r.FromMS {
			return nil
		}
		p, ok := payloadOf(e)
		if !ok || !matches(r, p) {
			return nil
		}
		m := stored{lsn: e.LSN, timeMS: e.TimeMS, payload: slices.Clone(p)}
		if !f.add(&m) {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
