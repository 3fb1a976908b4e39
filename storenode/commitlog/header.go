// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/mansiomq/mansio/internal/ident"
)

const (
	// HeaderBytes is the size of a segment file's header.
	HeaderBytes = 4096
	// FormatVersion is the segment format that this build writes, and the newest
	// that it reads.
	FormatVersion = 1
	// FirstLSN is where a shard's log begins; LSN 0 means "none" everywhere.
	FirstLSN ident.LSN = 8

	magic    = "MANSIOLG"
	termsMax = 128

	flagSpare = 1 // the segment was made of the spare

	offFormat   = 8
	offShard    = 12
	offCluster  = 16
	offBase     = 24
	offCapacity = 32
	offPrevCRC  = 40
	offTerms    = 44
	offPrevTerm = 48
	offPrevTime = 56
	offFlags    = 64
	offTermList = 72
	offCRC      = HeaderBytes - 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errNewerFormat: the header is whole, and says that it is of a newer format.
var errNewerFormat = errors.New("newer format")

// header is what a segment file says of itself.
type header struct {
	cluster  uint64
	shard    ident.Shard
	base     ident.LSN
	capacity int64 // log bytes that the segment may hold
	spare    bool  // made of the spare
	tail     Tail  // of the log before base
}

func (h *header) encode() []byte {
	b := make([]byte, HeaderBytes)
	le := binary.LittleEndian
	copy(b, magic)
	le.PutUint32(b[offFormat:], FormatVersion)
	le.PutUint32(b[offShard:], uint32(h.shard))
	le.PutUint64(b[offCluster:], h.cluster)
	le.PutUint64(b[offBase:], uint64(h.base))
	le.PutUint64(b[offCapacity:], uint64(h.capacity)) //nolint:gosec // never negative
	le.PutUint32(b[offPrevCRC:], h.tail.CRC)
	le.PutUint32(b[offTerms:], uint32(len(h.tail.Terms))) //nolint:gosec // at most 128
	le.PutUint64(b[offPrevTerm:], uint64(h.tail.Term))
	le.PutUint64(b[offPrevTime:], uint64(h.tail.TimeMS)) //nolint:gosec // two's complement is the format
	if h.spare {
		le.PutUint32(b[offFlags:], flagSpare)
	}
	for i, t := range h.tail.Terms {
		le.PutUint64(b[offTermList+16*i:], uint64(t.Term))
		le.PutUint64(b[offTermList+16*i+8:], uint64(t.Start))
	}
	le.PutUint32(b[offCRC:], crc32.Checksum(b[:offCRC], castagnoli))
	return b
}

// decodeHeader reads a header. Magic, format and CRC stand at the same place in
// every format, so that a newer one is recognised as such.
func decodeHeader(b []byte) (header, error) {
	var h header
	le := binary.LittleEndian
	switch {
	case len(b) < HeaderBytes:
		return h, fmt.Errorf("segment header: %d bytes", len(b))
	case le.Uint32(b[offCRC:]) != crc32.Checksum(b[:offCRC], castagnoli):
		return h, errors.New("segment header: bad CRC")
	case string(b[:len(magic)]) != magic:
		return h, errors.New("segment header: bad magic")
	case le.Uint32(b[offFormat:]) > FormatVersion:
		return h, fmt.Errorf("segment header: %w %d", errNewerFormat, le.Uint32(b[offFormat:]))
	case le.Uint32(b[offFormat:]) == 0:
		return h, errors.New("segment header: format 0")
	}
	h.shard = ident.Shard(le.Uint32(b[offShard:]))
	h.cluster = le.Uint64(b[offCluster:])
	h.spare = le.Uint32(b[offFlags:])&flagSpare != 0
	h.base = ident.LSN(le.Uint64(b[offBase:]))
	h.capacity = int64(le.Uint64(b[offCapacity:])) //nolint:gosec // checked below
	h.tail = Tail{
		CRC: le.Uint32(b[offPrevCRC:]), Term: ident.Term(le.Uint64(b[offPrevTerm:])),
		TimeMS: int64(le.Uint64(b[offPrevTime:])), //nolint:gosec // two's complement is the format
	}
	n := le.Uint32(b[offTerms:])
	if n > termsMax || h.capacity < 0 || h.base < FirstLSN || h.base%8 != 0 || le.Uint64(b[offFlags:]) > flagSpare ||
		!allZero(b[offTermList+16*int(min(n, termsMax)):offCRC]) {
		return h, errors.New("segment header: impossible values")
	}
	for i := range int(n) {
		h.tail.Terms = append(h.tail.Terms, TermStart{
			ident.Term(le.Uint64(b[offTermList+16*i:])), ident.LSN(le.Uint64(b[offTermList+16*i+8:])),
		})
	}
	return h, nil
}

// begin notes that an entry of that term stands at lsn.
func (t *Tail) begin(term ident.Term, lsn ident.LSN) {
	if n := len(t.Terms); n > 0 && t.Terms[n-1].Term == term {
		return
	}
	if len(t.Terms) == termsMax {
		t.Terms = slices.Delete(t.Terms, 0, 1)
	}
	t.Terms = append(t.Terms, TermStart{term, lsn})
}

func (t *Tail) clone() Tail {
	c := *t
	c.Terms = slices.Clone(t.Terms)
	return c
}
