// SPDX-License-Identifier: Apache-2.0

package flat

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestRoundTrip writes any scalars in any order and reads them again.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b bytes.Buffer
		e := NewEncoder(&b)
		var again []func(*Decoder) bool
		add := func(f func(*Decoder) bool) { again = append(again, f) }
		t.Repeat(map[string]func(*rapid.T){
			"u8": func(t *rapid.T) {
				v := rapid.Uint8().Draw(t, "v")
				e.U8(v)
				add(func(d *Decoder) bool { return d.U8("v") == v })
			},
			"u32": func(t *rapid.T) {
				v := rapid.Uint32().Draw(t, "v")
				e.U32(v)
				add(func(d *Decoder) bool { return d.U32("v") == v })
			},
			"u64": func(t *rapid.T) {
				v := rapid.Uint64().Draw(t, "v")
				e.U64(v)
				add(func(d *Decoder) bool { return d.U64("v") == v })
			},
			"uv": func(t *rapid.T) {
				v := rapid.Uint64().Draw(t, "v")
				e.UV(v)
				add(func(d *Decoder) bool { return d.Max(v, "v") == v })
			},
			"sv": func(t *rapid.T) {
				v := rapid.Int64().Draw(t, "v")
				e.SV(v)
				add(func(d *Decoder) bool { return d.SV("v") == v })
			},
			"flag": func(t *rapid.T) {
				v := rapid.Bool().Draw(t, "v")
				e.Flag(v)
				add(func(d *Decoder) bool { return d.Flag("v") == v })
			},
			"str": func(t *rapid.T) {
				v := bytes.Repeat([]byte{rapid.Byte().Draw(t, "v")}, rapid.SampledFrom([]int{0, 1, 200, 40_000}).Draw(t, "n"))
				e.Str(v)
				add(func(d *Decoder) bool { return bytes.Equal(d.Str("v"), v) })
			},
		})
		written := e.Written()
		if err := e.Flush(); err != nil || written != int64(b.Len()) {
			t.Fatalf("%d bytes of %d: %v", b.Len(), written, err)
		}
		d, err := ReadAll(&b)
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range again {
			if !f(d) {
				t.Fatalf("scalar %d of %d", i, len(again))
			}
		}
		if err := d.Finish("all"); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRefused lists what a decoder must not accept.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		read func(*Decoder)
	}{
		"nothing left u8":    {nil, func(d *Decoder) { d.U8("") }},
		"nothing left u32":   {[]byte{1, 2, 3}, func(d *Decoder) { d.U32("") }},
		"nothing left u64":   {make([]byte, 7), func(d *Decoder) { d.U64("") }},
		"nothing left uv":    {nil, func(d *Decoder) { d.UV("") }},
		"nothing left sv":    {nil, func(d *Decoder) { d.SV("") }},
		"endless uv":         {bytes.Repeat([]byte{0x80}, 11), func(d *Decoder) { d.UV("") }},
		"uv above 64 bits":   {append(bytes.Repeat([]byte{0xff}, 9), 2), func(d *Decoder) { d.UV("") }},
		"above the limit":    {[]byte{6}, func(d *Decoder) { d.Max(5, "") }},
		"count without room": {[]byte{3, 0, 0, 0, 0, 0}, func(d *Decoder) { d.Count(2, "") }},
		"str without room":   {[]byte{3, 0, 0}, func(d *Decoder) { d.Str("") }},
		"flag of 2":          {[]byte{2}, func(d *Decoder) { d.Flag("") }},
		"version":            {[]byte{2}, func(d *Decoder) { d.Version(1) }},
		"left over":          {[]byte{1}, func(*Decoder) {}},
	} {
		d := NewDecoder(c.b)
		c.read(d)
		if err := d.Finish("x"); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFirstFailureSticks(t *testing.T) {
	d := NewDecoder([]byte{9, 1, 2})
	d.Max(3, "first")
	d.Fail("second")
	if d.OK() || d.Left() != 0 || d.U8("third") != 0 || d.Str("fourth") != nil {
		t.Fatal("went on after a failure")
	}
	if err := d.Finish("x"); err == nil || err.Error() != "damaged encoding of x: bad first" {
		t.Fatal(err)
	}
}

type brokenWriter struct{ after int }

func (w *brokenWriter) Write(b []byte) (int, error) {
	w.after--
	if w.after < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

func TestWriteErrorsSurface(t *testing.T) {
	for after := range 3 {
		e := NewEncoder(&brokenWriter{after})
		for range 3 * chunkBytes {
			e.U8(1)
		}
		e.Raw(make([]byte, chunkBytes))
		if err := e.Flush(); !errors.Is(err, io.ErrClosedPipe) {
			t.Fatalf("after %d: %v", after, err)
		}
	}
}

// sectionOf writes pages and a tail behind a few other bytes.
func sectionOf(t interface{ Fatal(...any) }, payloads [][]byte) []byte {
	var b bytes.Buffer
	e := NewEncoder(&b)
	w := NewPageWriter(e)
	for _, p := range payloads {
		w.Write(p)
	}
	WriteTail(e, AppendPageLens(nil, w.Ends()))
	if err := errors.Join(e.Flush(), w.Err()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readSection(b []byte) (payloads [][]byte, err error) {
	r := io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
	tail, at, err := ReadTail(r)
	if err != nil {
		return nil, err
	}
	d := NewDecoder(tail)
	p := Pages{R: r, Ends: d.PageEnds()}
	if err := d.Finish("tail"); err != nil {
		return nil, err
	}
	for i := range p.Count() {
		payload, err := p.Read(i, new([]byte))
		if err != nil {
			return nil, err
		}
		payloads = append(payloads, payload)
		if int64(p.Ends[i]) > at {
			return nil, ErrDamaged
		}
	}
	return payloads, nil
}

func TestPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.SliceOfN(rapid.Byte(), 0, 300)).Draw(t, "payloads")
		got, err := readSection(sectionOf(t, want))
		if err != nil || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("%v: %s", err, cmp.Diff(want, got))
		}
	})
}

func TestPageBits(t *testing.T) {
	b := sectionOf(t, [][]byte{[]byte("first"), nil, []byte("third page")})
	for bit := range 8 * len(b) {
		b[bit/8] ^= 1 << (bit % 8)
		if got, err := readSection(b); !errors.Is(err, ErrDamaged) && !errors.Is(err, io.EOF) {
			t.Fatalf("bit %d: %q, %v", bit, got, err)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

func TestTooLargePage(t *testing.T) {
	w := NewPageWriter(NewEncoder(io.Discard))
	w.Write(make([]byte, PageBytesMax-crcSize))
	if w.Err() != nil || w.Count() != 1 {
		t.Fatal(w.Err())
	}
	w.Write(make([]byte, PageBytesMax))
	if w.Err() == nil {
		t.Fatal("wrote a page that no reader accepts")
	}
	p := Pages{R: bytes.NewReader(nil), Ends: []uint32{math.MaxUint32}}
	if _, err := p.Read(0, new([]byte)); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
}

func FuzzSection(f *testing.F) {
	f.Add(sectionOf(f, [][]byte{[]byte("first"), nil, []byte("third page")}))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		payloads, err := readSection(b)
		if err == nil && len(slices.Concat(payloads...)) > len(b) {
			t.Fatal("more than was there")
		}
	})
}
