// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
)

// seal puts the right CRC on an entry's bytes.
func seal(b []byte) {
	binary.LittleEndian.PutUint32(b[offCRC:], crc32.Checksum(b[offPrevCRC:], castagnoli))
}

// FuzzDecode: whatever the bytes, Decode neither panics nor accepts what Append
// would not have written. With right set the CRC and length are made right
// first, so that the fuzzer gets behind them.
func FuzzDecode(f *testing.F) {
	for _, s := range samples() {
		e := sampleEntry(s.bytes())
		f.Add(e.Append(nil), uint64(e.LSN), false)
		f.Add(e.Append(nil), uint64(e.LSN), true)
	}
	f.Add([]byte{}, uint64(8), false)
	f.Fuzz(func(t *testing.T, b []byte, lsn uint64, right bool) {
		if right && len(b) >= HeaderSize {
			binary.LittleEndian.PutUint32(b, uint32(len(b)))
			seal(b)
		}
		e, err := Decode(b, ident.LSN(lsn))
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("the error is not ErrDamaged: %v", err)
			}
			return
		}
		again := e.Append(nil)
		if !bytes.Equal(again[:e.Len], b[:e.Len]) {
			t.Fatalf("decoded\n%x, encodes as\n%x", b[:e.Len], again[:e.Len])
		}
	})
}

// FuzzBodies runs every body decoder; which one, the first argument says.
func FuzzBodies(f *testing.F) {
	for _, s := range samples() {
		f.Add(uint8(s.typ), s.bytes())
	}
	f.Fuzz(func(t *testing.T, typ uint8, body []byte) {
		c := codecFor(Type(typ))
		if c.decode == nil {
			return
		}
		if err := roundTrip(c, body); err != nil {
			t.Fatalf("%v %x: %v", c.typ, body, err)
		}
	})
}
