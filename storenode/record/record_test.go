// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mansiomq/mansio/internal/ident"
)

func sampleEntry(body []byte) Entry {
	return Entry{
		Header: Header{PrevCRC: 0xDEADBEEF, Type: TypeMessage, Version: Version, LSN: 4096, Term: 1 << 40, TimeMS: 1_790_000_000_000, CommitBack: 3},
		Body:   body,
	}
}

// The header's bytes, drawn once by hand.
func TestHeaderBytes(t *testing.T) {
	e := Entry{
		Header: Header{
			PrevCRC: 0x04030201, Type: TypeTrim, Version: 1, LSN: 0x0807060504030201, Term: 0x1817161514131211,
			TimeMS: 0x2827262524232221, CommitBack: 0x34333231,
		},
		Body: []byte{0xAA, 0xBB},
	}
	got := e.Append(nil)
	want := []byte{
		50, 0, 0, 0, // len
		got[4], got[5], got[6], got[7], // CRC: checked by Decode
		1, 2, 3, 4, // prev_crc
		5, 1, 0, 0, // type, version, flags
		1, 2, 3, 4, 5, 6, 7, 8, // lsn
		0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, // term
		0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, // time
		0x31, 0x32, 0x33, 0x34, // commit_back
		0, 0, 0, 0,
		0xAA, 0xBB, 0, 0, 0, 0, 0, 0, // body, padding
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	back, err := Decode(got, e.LSN)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, back); diff != "" {
		t.Error(diff)
	}
	if e.Len != 50 || e.End() != e.LSN+56 {
		t.Errorf("length %d, end %d", e.Len, e.End())
	}
}

func TestEntryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Entry{
			Header: Header{
				PrevCRC: rapid.Uint32().Draw(t, "prev"), Type: Type(rapid.Uint8().Draw(t, "type")), Version: rapid.Uint8().Draw(t, "version"),
				LSN: ident.LSN(rapid.Uint64().Draw(t, "lsn")), Term: ident.Term(rapid.Uint64().Draw(t, "term")),
				TimeMS: rapid.Int64().Draw(t, "time"), CommitBack: rapid.Uint32().Draw(t, "back"),
			},
			Body: rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "body"),
		}
		before := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "before")
		b := e.Append(before)
		b = b[len(before):]
		if len(b) != Padded(int(e.Len)) || len(b)%Align != 0 {
			t.Fatalf("%d bytes for a length of %d", len(b), e.Len)
		}
		got, err := Decode(b, e.LSN)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Fatal(diff)
		}
		if n, err := PeekLen(b); n != int(e.Len) || err != nil {
			t.Fatalf("peeked %d, %v", n, err)
		}
	})
}

// No flipped bit of header or body goes unnoticed, and no cut.
func TestEveryBitCounts(t *testing.T) {
	e := sampleEntry([]byte("some body of odd length"))
	b := e.Append(nil)
	for i := range int(e.Len) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if _, err := Decode(b, e.LSN); !errors.Is(err, ErrDamaged) {
			t.Errorf("bit %d of byte %d: %v", i%8, i/8, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range int(e.Len) {
		if _, err := Decode(b[:n], e.LSN); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := Decode(b, e.LSN+8); !errors.Is(err, ErrDamaged) {
		t.Errorf("at another place: %v", err)
	}
	if _, err := Decode(b, e.LSN); err != nil {
		t.Errorf("undamaged: %v", err)
	}
}

// Reserved bits must be zero even when the CRC is right.
func TestReservedBits(t *testing.T) {
	for _, at := range []int{offFlags, offFlags + 1, offZero, offZero + 3} {
		e := sampleEntry([]byte("x"))
		b := e.Append(nil)
		b[at] = 1
		seal(b[:e.Len])
		if _, err := Decode(b, e.LSN); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d set: %v", at, err)
		}
	}
}

func TestPeekLenLimits(t *testing.T) {
	for n, ok := range map[uint32]bool{0: false, HeaderSize - 1: false, HeaderSize: true, EntryBytesMax: true, EntryBytesMax + 1: false, math.MaxUint32: false} {
		b := []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}
		got, err := PeekLen(b)
		if (err == nil) != ok || ok && got != int(n) {
			t.Errorf("length %d: %d, %v", n, got, err)
		}
	}
}

func TestCommit(t *testing.T) {
	for _, tt := range []struct{ lsn, commit, want ident.LSN }{
		{8, 8, 8},
		{1000, 8, 8},
		{1 << 40, 1<<40 - 4096, 1<<40 - 4096},
		{1 << 40, 8, 0}, // too far behind: it proves nothing
		{8 << 32, 8, 0}, // the first distance that saturates
		{8<<32 - 8, 8, 8},
	} {
		h := Header{LSN: tt.lsn, CommitBack: CommitBack(tt.lsn, tt.commit)}
		if got := h.Commit(); got != tt.want {
			t.Errorf("lsn %d commit %d: got %d, want %d", tt.lsn, tt.commit, got, tt.want)
		}
	}
	if h := (Header{LSN: 8, CommitBack: 100}); h.Commit() != 0 {
		t.Error("a distance beyond the log's beginning proves something")
	}
}

func TestTypeNames(t *testing.T) {
	known := 0
	for i := range 256 {
		if Type(i).Known() {
			known++
		}
	}
	if known != 22 || TypePopGrant.String() != "PopGrant" || Type(99).String() != "type 99" {
		t.Errorf("%d types are known", known)
	}
}

// A body cut short, or with a byte more, is refused. The payload of a dead
// letter is what remains, so it may have any length.
func TestBodiesAreExact(t *testing.T) {
	for _, s := range samples() {
		if s.body == nil {
			continue
		}
		c, b := codecFor(s.typ), s.bytes()
		for n := range b {
			if s.typ == TypeDeadLetter && n >= len(b)-len(samplePayload()) {
				break // what remains is a shorter payload
			}
			if _, err := c.decode(b[:n]); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s cut to %d of %d bytes: %v", s.name, n, len(b), err)
			}
		}
		if s.typ == TypeDeadLetter {
			continue
		}
		if _, err := c.decode(append(b, 0)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s with a byte more: %v", s.name, err)
		}
	}
}

// What a body claims is bounded by what is there, so that no damaged count makes
// a decoder allocate.
func TestCountsAreBounded(t *testing.T) {
	huge := []byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1}
	for _, c := range codecs {
		n := testing.AllocsPerRun(10, func() {
			if _, err := c.decode(huge); c.typ != TypeTrim && c.typ != TypeSkipEntry && c.typ != TypeTimeShift && err == nil {
				t.Errorf("%v decodes a lone huge number", c.typ)
			}
		})
		if n > 20 {
			t.Errorf("%v: %v allocations", c.typ, n)
		}
	}
}
