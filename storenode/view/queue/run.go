// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"cmp"
	"iter"
	"sort"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/view/sealed"
)

// Run is the postings of a sealed segment, in memory. It never changes; all
// methods may be called concurrently.
type Run struct {
	seg sealed.Segment
	a   *arena
	dir []Span // sorted by topic and queue; at = its place in a.touched
}

func compareKey(s Span, t ident.Topic, q ident.Queue) int {
	if c := cmp.Compare(s.Topic, t); c != 0 {
		return c
	}
	return cmp.Compare(s.Queue, q)
}

// Segment implements Source.
func (r *Run) Segment() sealed.Segment { return r.seg }

// Find implements Source.
func (r *Run) Find(t ident.Topic, q ident.Queue) (Span, bool, error) {
	i, ok := sort.Find(len(r.dir), func(i int) int { return -compareKey(r.dir[i], t, q) })
	if !ok {
		return Span{}, false, nil
	}
	return r.dir[i], true, nil
}

// Read implements Source.
func (r *Run) Read(s Span, from ident.Offset, dst []Posting) (int, error) {
	if from < s.Base || from >= s.End() {
		return 0, nil
	}
	return r.a.read(&r.a.touched[s.at], uint32(from-s.Base), dst), nil //nolint:gosec // below Count
}

// Directory implements Source.
func (r *Run) Directory() iter.Seq2[Span, error] {
	return func(yield func(Span, error) bool) {
		for _, s := range r.dir {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// Since implements Source.
func (r *Run) Since(timeMS int64) (ident.LSN, bool, error) {
	lsn, ok := r.a.times.since(timeMS)
	return lsn, ok, nil
}

// Postings is the number of postings in the run.
func (r *Run) Postings() (n int) {
	for i := range r.dir {
		n += int(r.dir[i].Count)
	}
	return n
}
