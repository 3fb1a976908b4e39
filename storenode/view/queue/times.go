// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"sort"

	"github.com/mansiomq/mansio/internal/ident"
)

// sample says that the first posting with log time ms stands at lsn. There is
// one for every millisecond in which anything was posted, so times are exact.
type sample struct {
	ms  int64
	lsn ident.LSN
}

// times are samples, growing in both. Log time never goes back; if it did, the
// late posting would count as written at the highest time before it.
type times []sample

func (t *times) note(ms int64, lsn ident.LSN) {
	if n := len(*t); n == 0 || ms > (*t)[n-1].ms {
		*t = append(*t, sample{ms, lsn})
	}
}

// since returns the first sample whose time is not before ms.
func (t times) since(ms int64) (ident.LSN, bool) {
	i := sort.Search(len(t), func(i int) bool { return t[i].ms >= ms })
	if i == len(t) {
		return 0, false
	}
	return t[i].lsn, true
}
