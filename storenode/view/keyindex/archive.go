// SPDX-License-Identifier: Apache-2.0

package keyindex

import (
	"slices"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/view/sealed"
)

// Archive is the sealed segments of a shard, for readers that are not the
// shard's owner. All methods may be called concurrently.
type Archive struct{ sources sealed.Archive[Source] }

// Add adds the run of a segment that has none.
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

// Find appends the LSNs of candidates in all segments to dst, in the order that
// the query wants, at most Max. more says that Max ended it: the rest lies
// behind the answer's last LSN (before it, if the newest were asked for). active
// is a snapshot of the active segment, or nil; take it before calling Find, so
// that a segment sealed meanwhile is asked once more rather than not at all.
func (a *Archive) Find(dst []ident.LSN, active *Run, q Query) (lsns []ident.LSN, more bool, err error) {
	all := slices.Clone(a.sources.Snapshot())
	if active != nil {
		all = append(all, active)
	}
	if q.Newest {
		slices.Reverse(all)
	}
	start := len(dst)
	for _, s := range all {
		left := q.Max - (len(dst) - start)
		if left < 0 {
			break
		}
		one := q
		one.Max = left + 1 // the one too many says that there is more
		if dst, err = s.Find(dst, one); err != nil {
			return dst, false, err
		}
		if n := len(dst) - start; n > q.Max {
			return dst[:start+max(0, q.Max)], true, nil
		} else if n > 0 {
			q.behind(dst[len(dst)-1])
		}
	}
	return dst, false, nil
}

// behind makes the query go on behind an LSN. A segment that was sealed
// meanwhile is asked twice, and must not answer twice.
func (q *Query) behind(lsn ident.LSN) {
	if q.Newest {
		q.To = min(q.To, lsn)
	} else {
		q.From = max(q.From, lsn+1)
	}
}
