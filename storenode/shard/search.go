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
// where it goes on.
const scanBytesMax = 64 << 20

// candidatesMax is how many LSNs are asked for at once: a common key has many,
// and most queries want few.
const candidatesMax = 256

// activePart is what the active segment has for a query.
type activePart struct {
	keys  *keyindex.Run
	since ident.LSN // where the query's time begins in it, or its end
}

// search finds messages on a reader goroutine; limit is the end of what is
// committed, active what the active segment has.
func (s *Shard) search(r *storeapi.Query, active activePart, limit ident.LSN) (*storeapi.QueryResult, error) {
	f := &found{max: min(max(r.Max, 1), queryMax)}
	q := keyindex.Query{From: r.After + 1, To: limit, Max: candidatesMax}
	switch {
	case r.MessageID != "":
		q.Key = keyindex.OfID(ident.Hash64(r.MessageID))
	case r.Key != "":
		q.Key = keyindex.OfKey(r.Topic, ident.Hash32(r.Key))
	default:
		err := s.searchTime(r, f, active.since, limit)
		return &f.result, err
	}
	for {
		lsns, more, err := s.keys.Find(nil, active.keys, q)
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

// timeStart is where a search by time begins: at the first message of that time,
// or at the last one that was answered, or where the scan before ended. active is
// where the time begins in the active segment.
func (s *Shard) timeStart(r *storeapi.Query, active ident.LSN) (from ident.LSN, err error) {
	from = active
	for _, src := range s.archive.Sources() {
		if src.Segment().Base < s.commitlog.Start() {
			continue
		}
		lsn, ok, err := src.Since(r.FromMS)
		if err != nil {
			return 0, err
		}
		if ok {
			from = min(lsn, active)
			break
		}
	}
	for _, at := range [...]ident.LSN{r.After, r.After + 1} {
		if at <= from {
			continue
		}
		if _, _, err := s.commitlog.Read(at, nil); err == nil { // else it names no entry
			return at, nil
		}
	}
	return from, nil
}

// searchTime reads the log from where the time begins.
func (s *Shard) searchTime(r *storeapi.Query, f *found, active, limit ident.LSN) error {
	if r.After >= limit {
		return nil
	}
	from, err := s.timeStart(r, active)
	if err != nil || from >= limit {
		return err
	}
	err = s.commitlog.Scan(s.life, from, limit, func(e *record.Entry) error {
		if e.TimeMS >= r.ToMS {
			return errEnough
		}
		if e.LSN > from+scanBytesMax {
			f.result.More, f.result.Next = true, e.LSN
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
