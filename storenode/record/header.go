// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/mansiomq/mansio/internal/ident"
)

const (
	// HeaderSize is the length of an entry's header in bytes.
	HeaderSize = 48
	// Align is the boundary on which every entry starts.
	Align = 8
	// EntryBytesMax is the largest entry that is ever written: the largest
	// message with its properties, and room.
	EntryBytesMax = 16 << 20

	offCRC        = 4
	offPrevCRC    = 8
	offType       = 12
	offVersion    = 13
	offFlags      = 14
	offLSN        = 16
	offTerm       = 24
	offTime       = 32
	offCommitBack = 40
	offZero       = 44
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrDamaged marks bytes that are no valid entry. It says nothing of why: a
// torn tail and corruption look alike here, package commitlog tells them apart.
var ErrDamaged = errors.New("damaged entry")

// Header is what stands before every body.
type Header struct {
	Len        uint32
	CRC        uint32
	PrevCRC    uint32
	Type       Type
	Version    uint8
	LSN        ident.LSN
	Term       ident.Term
	TimeMS     int64
	CommitBack uint32
}

// Entry is one record of the log. Body shares the memory it was decoded from.
type Entry struct {
	Header
	Body []byte
}

// Padded is the space that an entry of n bytes takes in the log.
func Padded(n int) int { return (n + Align - 1) &^ (Align - 1) }

// End is the LSN behind the entry and its padding.
func (h *Header) End() ident.LSN { return h.LSN + (ident.LSN(h.Len)+Align-1)&^(Align-1) }

// Commit is the highest LSN that this entry proves committed when it was
// written (rounded up to the saturation of the field).
func (h *Header) Commit() ident.LSN {
	if back := ident.LSN(h.CommitBack) << 3; h.CommitBack != math.MaxUint32 && back <= h.LSN {
		return h.LSN - back
	}
	return 0
}

// CommitBack encodes the distance of commit behind lsn.
func CommitBack(lsn, commit ident.LSN) uint32 {
	return uint32(min((lsn-commit)>>3, math.MaxUint32))
}

// Append encodes the entry with its padding behind dst, computes its CRC and
// writes Len and CRC back into e. The caller has set all other header fields.
func (e *Entry) Append(dst []byte) []byte {
	start := len(dst)
	e.Len = uint32(HeaderSize + len(e.Body)) //nolint:gosec // bodies are bounded by EntryBytesMax
	dst = append(dst, make([]byte, HeaderSize)...)
	dst = append(dst, e.Body...)
	e.CRC = Finish(dst[start:], &e.Header)
	for pad := Padded(int(e.Len)) - int(e.Len); pad > 0; pad-- {
		dst = append(dst, 0)
	}
	return dst
}

// Finish writes the header of an entry whose body stands already behind the 48
// bytes at the start of b, and returns the entry's CRC. h.Len must be len(b).
func Finish(b []byte, h *Header) uint32 {
	le := binary.LittleEndian
	le.PutUint32(b, h.Len)
	le.PutUint32(b[offPrevCRC:], h.PrevCRC)
	b[offType] = byte(h.Type)
	b[offVersion] = h.Version
	le.PutUint16(b[offFlags:], 0)
	le.PutUint64(b[offLSN:], uint64(h.LSN))
	le.PutUint64(b[offTerm:], uint64(h.Term))
	le.PutUint64(b[offTime:], uint64(h.TimeMS)) //nolint:gosec // two's complement is the format
	le.PutUint32(b[offCommitBack:], h.CommitBack)
	le.PutUint32(b[offZero:], 0)
	crc := crc32.Checksum(b[offPrevCRC:h.Len], castagnoli)
	le.PutUint32(b[offCRC:], crc)
	return crc
}

// PeekLen returns the length that the header at the start of b claims, or an
// error when no entry can have that length. b must hold at least 4 bytes.
func PeekLen(b []byte) (int, error) {
	n := binary.LittleEndian.Uint32(b)
	if n < HeaderSize || n > EntryBytesMax {
		return 0, fmt.Errorf("%w: length %d", ErrDamaged, n)
	}
	return int(n), nil
}

// Decode reads the entry at the start of b, which must stand at lsn. It checks
// length, CRC, self-address and the bytes that must be zero; the caller checks
// the chain (PrevCRC), terms and times. Body shares b's memory.
func Decode(b []byte, lsn ident.LSN) (Entry, error) {
	var e Entry
	if len(b) < HeaderSize {
		return e, fmt.Errorf("%w: %d bytes left at LSN %d", ErrDamaged, len(b), lsn)
	}
	n, err := PeekLen(b)
	if err != nil {
		return e, err
	}
	if n > len(b) {
		return e, fmt.Errorf("%w: length %d, %d bytes left at LSN %d", ErrDamaged, n, len(b), lsn)
	}
	le := binary.LittleEndian
	crc := le.Uint32(b[offCRC:])
	if got := crc32.Checksum(b[offPrevCRC:n], castagnoli); got != crc {
		return e, fmt.Errorf("%w: CRC %08x, want %08x at LSN %d", ErrDamaged, got, crc, lsn)
	}
	e.Header = Header{
		Len: le.Uint32(b), CRC: crc, PrevCRC: le.Uint32(b[offPrevCRC:]),
		Type: Type(b[offType]), Version: b[offVersion],
		LSN: ident.LSN(le.Uint64(b[offLSN:])), Term: ident.Term(le.Uint64(b[offTerm:])),
		TimeMS: int64(le.Uint64(b[offTime:])), CommitBack: le.Uint32(b[offCommitBack:]), //nolint:gosec // the format
	}
	if e.LSN != lsn {
		return e, fmt.Errorf("%w: entry says LSN %d, stands at %d", ErrDamaged, e.LSN, lsn)
	}
	if le.Uint16(b[offFlags:]) != 0 || le.Uint32(b[offZero:]) != 0 {
		return e, fmt.Errorf("%w: reserved bits set at LSN %d", ErrDamaged, lsn)
	}
	e.Body = b[HeaderSize:n:n]
	return e, nil
}
