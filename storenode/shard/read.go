// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view/queue"
)

// readers read bodies beside the owner goroutine: a cold read keeps one busy
// and nobody waiting but its own receive.
const readers = 4

// stored is a message as it lies in the log.
type stored struct {
	lsn     ident.LSN
	timeMS  int64
	payload message.Payload
}

// read has f run on a reader goroutine.
func (s *Shard) read(f func()) { s.reads.put(f) }

// stored reads the message at an offset; at tells where it lies if the active
// segment has it. fault.NotFound: retention has taken it.
func (s *Shard) stored(t ident.Topic, q ident.Queue, o ident.Offset, at queue.Posting) (stored, error) {
	if at.LSN == 0 {
		var ok bool
		var err error
		if at, ok, err = s.archive.Lookup(t, q, o); err != nil {
			return stored{}, err
		} else if !ok {
			return stored{}, fault.Errorf("locate message", fault.NotFound, "topic %d queue %d offset %d", t, q, o)
		}
	}
	return s.storedAt(at.LSN, int(at.Bytes))
}

// storedAt reads the message whose entry stands at lsn; bytes is a hint.
func (s *Shard) storedAt(lsn ident.LSN, bytes int) (stored, error) {
	e, _, err := s.commitlog.Read(lsn, make([]byte, 0, record.Padded(bytes)))
	if err != nil {
		return stored{}, err
	}
	p, ok := payloadOf(&e)
	if !ok {
		return stored{}, fault.Errorf("read message", fault.Corrupt, "%v at LSN %d holds none", e.Type, lsn)
	}
	return stored{lsn: lsn, timeMS: e.TimeMS, payload: p}, nil
}

// unreadable tells the owner that a message cannot be read; that retention took
// it is no news.
func (s *Shard) unreadable(err error) {
	if !fault.Is(err, fault.NotFound) {
		s.later(func() { s.unread(err) })
	}
}
