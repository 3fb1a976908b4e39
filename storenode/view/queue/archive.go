// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/view/sealed"
)

// Archive is the sealed segments of a shard, for readers that are not the
// shard's owner. Readers work on a snapshot; all methods may be called
// concurrently.
type Archive struct{ sources sealed.Archive[Source] }

// Add adds the run of a segment that has none: the one just sealed, or one that
// was opened or rebuilt at start.
func (a *Archive) Add(s Source) { a.sources.Insert(s) }

// Replace puts a source of the same segment in the place of the one there: the
// Stored one when the index file is durable. It returns the one replaced, or
// false when the segment was retired meanwhile.
func (a *Archive) Replace(s Source) (Source, bool) { return a.sources.Replace(s) }

// Retire removes the segments that end at or below newStart, closes their files
// and returns them, oldest first. A reader that still holds one of them is told
// fault.NotFound.
func (a *Archive) Retire(newStart ident.LSN) []Source { return a.sources.Retire(newStart) }

// Close closes all files and empties the archive.
func (a *Archive) Close() { a.sources.Close() }

// Sources is a snapshot of all sealed segments, oldest first. It is shared and
// must not be changed.
func (a *Archive) Sources() []Source { return a.sources.Snapshot() }

// Locate finds the sealed segment that holds a queue's offset.
func (a *Archive) Locate(t ident.Topic, q ident.Queue, o ident.Offset) (Source, Span, bool, error) {
	return locate(a.sources.Snapshot(), t, q, o)
}

// locate searches by halves. A segment may hold nothing of the queue, then the
// next one above it that does stands for it.
func locate(all []Source, t ident.Topic, q ident.Queue, o ident.Offset) (Source, Span, bool, error) {
	lo, hi := 0, len(all)
	for lo < hi {
		mid := lo + (hi-lo)/2
		at, span, err := nextWith(all[:hi], mid, t, q)
		switch {
		case err != nil:
			return nil, Span{}, false, err
		case at == hi || o < span.Base:
			hi = mid
		case o >= span.End():
			lo = at + 1
		default:
			return all[at], span, true, nil
		}
	}
	return nil, Span{}, false, nil
}

// nextWith returns the first source from i upward that holds the queue, or
// len(all).
func nextWith(all []Source, i int, t ident.Topic, q ident.Queue) (int, Span, error) {
	for ; i < len(all); i++ {
		span, ok, err := all[i].Find(t, q)
		if ok || err != nil {
			return i, span, err
		}
	}
	return i, Span{}, nil
}

// Lookup returns the posting of an offset if a sealed segment holds it.
func (a *Archive) Lookup(t ident.Topic, q ident.Queue, o ident.Offset) (Posting, bool, error) {
	var one [1]Posting
	n, err := a.Read(t, q, o, one[:])
	return one[0], n == 1, err
}

// Read fills dst with a queue's postings from an offset upward, over as many
// sealed segments as it takes, and returns how many it found: 0 when no segment
// holds from, fewer than dst holds when the last one that has the queue ends.
func (a *Archive) Read(t ident.Topic, q ident.Queue, from ident.Offset, dst []Posting) (int, error) {
	all := a.sources.Snapshot()
	n := 0
	for n < len(dst) {
		src, span, ok, err := locate(all, t, q, from+ident.Offset(n))
		if err != nil || !ok {
			return n, err
		}
		got, err := src.Read(span, from+ident.Offset(n), dst[n:])
		n += got
		if err != nil || got == 0 {
			return n, err
		}
	}
	return n, nil
}

// OffsetAtTime returns the queue's first offset in a sealed segment whose log
// time is not before timeMS, exactly; false if there is none.
func (a *Archive) OffsetAtTime(t ident.Topic, q ident.Queue, timeMS int64) (ident.Offset, bool, error) {
	for _, src := range a.sources.Snapshot() {
		o, ok, err := offsetAtTime(src, t, q, timeMS)
		if ok || err != nil {
			return o, ok, err
		}
	}
	return 0, false, nil
}
