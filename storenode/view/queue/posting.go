// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"iter"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/view/sealed"
)

// Posting is what a queue knows of one message: enough to filter it, to order
// it, and to read its entry in one go.
type Posting struct {
	LSN       ident.LSN // of the entry that holds the body
	Bytes     uint32    // length of that entry, header included
	TagHash   uint32    // 0: no tag
	GroupHash uint64    // 0: no message group
}

// Span is what one segment holds of one queue: Count postings from Base upward.
type Span struct {
	Topic ident.Topic
	Queue ident.Queue
	Base  ident.Offset
	Count uint32
	at    uint32 // where its source finds the first of them
}

// End is the offset behind the span's last posting.
func (s Span) End() ident.Offset { return s.Base + ident.Offset(s.Count) }

// State is one queue's bounds: offsets [Min, Next) exist.
type State struct {
	Queue ident.Queue
	Min   ident.Offset
	Next  ident.Offset
}

// Source is the postings of one sealed segment: a Run in memory or a Stored one
// in a file. It never changes, and all methods may be called concurrently. A
// Stored one fails with a *sealed.DamageError (fault.Corrupt) when its bytes are
// damaged, and with the reader's own error when they cannot be read.
type Source interface {
	Segment() sealed.Segment
	// Find returns the span of a queue, or false if the segment has none.
	Find(t ident.Topic, q ident.Queue) (Span, bool, error)
	// Read fills dst with the postings of a span of this source from an offset
	// inside it upward, and returns how many there were: fewer than dst holds
	// only at the span's end.
	Read(s Span, from ident.Offset, dst []Posting) (int, error)
	// Directory yields all spans, sorted by topic and queue; it ends with the
	// first error.
	Directory() iter.Seq2[Span, error]
	// Since returns the LSN of the segment's first posting whose log time is
	// not before timeMS, or false if there is none.
	Since(timeMS int64) (ident.LSN, bool, error)
}

var (
	_ Source = (*Run)(nil)
	_ Source = (*Stored)(nil)
)

// firstAt returns the span's first offset whose posting stands at or behind
// lsn, or false if all stand before it.
func firstAt(src Source, s Span, lsn ident.LSN) (ident.Offset, bool, error) {
	var one [1]Posting
	lo, hi := s.Base, s.End()
	for lo < hi {
		mid := lo + (hi-lo)/2
		if _, err := src.Read(s, mid, one[:]); err != nil {
			return 0, false, err
		}
		if one[0].LSN < lsn {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < s.End(), nil
}

// offsetAtTime returns the first offset of a queue in one source whose log time
// is not before timeMS.
func offsetAtTime(src Source, t ident.Topic, q ident.Queue, timeMS int64) (ident.Offset, bool, error) {
	lsn, ok, err := src.Since(timeMS)
	if err != nil || !ok {
		return 0, false, err
	}
	s, ok, err := src.Find(t, q)
	if err != nil || !ok {
		return 0, false, err
	}
	return firstAt(src, s, lsn)
}
