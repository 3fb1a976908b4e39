// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
)

const (
	segmentSuffix = ".log"
	poolSuffix    = ".free"
	reserveName   = "reserve" + poolSuffix
	lsnDigits     = 20
)

// errGone: the segment was trimmed, or the log closed, under a reader.
var errGone = errors.New("segment is gone")

// area is a file whose blocks can take log bytes: a segment, or one to be.
type area struct {
	f        disk.File
	capacity int64 // log bytes behind the header
	prepared int64 // of these, written with zeros or older bytes; guarded by Log.mu
	reserve  bool  // the spare, or made of it
}

// segment is a file that is part of the log. Its fields do not change, except
// firstTimeMS, and area.prepared.
type segment struct {
	*area
	base        ident.LSN
	tail        Tail  // of the log before base, from the header
	damage      error // what is wrong with the header
	unread      bool  // it could not even be read
	firstTimeMS atomic.Int64

	mu   sync.RWMutex // held by readers and syncs of f; written to close it
	gone bool
}

// readAt reads log bytes that stand at lsn. At the end of the file it returns
// fewer, without an error.
func (s *segment) readAt(b []byte, lsn ident.LSN) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.gone {
		return 0, errGone
	}
	n, err := s.f.ReadAt(b, s.offset(lsn))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (s *segment) offset(lsn ident.LSN) int64 {
	return HeaderBytes + int64(lsn-s.base) //nolint:gosec // less than a file's size
}

// sync makes the segment durable; one that is gone needs it no more.
func (s *segment) sync() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.gone {
		return nil
	}
	return syncFile(s.f)
}

// close waits for readers and closes the file.
func (s *segment) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return nil
	}
	s.gone = true
	return s.f.Close()
}

// segments is an immutable list, oldest first.
type segments []*segment

// find returns the index of the segment that holds lsn: the last one whose base
// is not above it, −1 when there is none.
func (l segments) find(lsn ident.LSN) int {
	i, _ := slices.BinarySearchFunc(l, lsn, func(s *segment, lsn ident.LSN) int {
		if s.base <= lsn {
			return -1
		}
		return 1
	})
	return i - 1
}

// chunk is the size of one large read: no more than a segment has.
func (l segments) chunk() int {
	most := int64(pointRead)
	for _, s := range l {
		most = max(most, min(s.capacity, readChunk))
	}
	return int(most)
}

// limit is the LSN below which the entries of the i-th segment end.
func (l segments) limit(i int, end ident.LSN) ident.LSN {
	if i+1 < len(l) {
		return min(l[i+1].base, end)
	}
	return end
}

func segmentName(dir string, base ident.LSN) string {
	return filepath.Join(dir, fmt.Sprintf("%0*d%s", lsnDigits, base, segmentSuffix))
}

// parseSegmentName returns the base that a file name claims.
func parseSegmentName(name string) (ident.LSN, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != lsnDigits {
		return 0, false
	}
	base, err := strconv.ParseUint(digits, 10, 64)
	return ident.LSN(base), err == nil
}
