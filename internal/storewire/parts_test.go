// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"
	"pgregory.net/rapid"
)

// TestPackAndUnpack: items of any size, with any hint of it, arrive whole and
// once; no message is longer than it may be; small items pass large ones by.
func TestPackAndUnpack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(partMin-20, partMin+20), rapid.IntRange(0, 3*frameMax))
		sizes := rapid.SliceOfN(size, 1, 40).Draw(t, "sizes")
		b := builder{pool: mem.DefaultBufferPool()}
		var a assembler
		next, got := 0, make(map[byte]int)
		for next < len(sizes) || !b.empty() {
			for next < len(sizes) && !b.full() {
				n := sizes[next]
				hint := rapid.SampledFrom([]int{n, 0, 2 * n}).Draw(t, "hint")
				b.add(uint64(next), hint, func(dst []byte) []byte { return append(dst, bytes.Repeat([]byte{byte(next)}, n+1)...) })
				next++
			}
			b.addPart()
			frame := *b.take().buf
			if len(frame) > frameMax {
				t.Fatalf("a message of %d bytes", len(frame))
			}
			for r := (&reader{rest: frame}); r.next(); {
				item := r.data
				if r.num == fieldPart {
					item = a.part(r)
				}
				if item == nil {
					continue
				}
				i := item[0]
				if _, twice := got[i]; twice || !bytes.Equal(item, bytes.Repeat([]byte{i}, len(item))) {
					t.Fatalf("item %d arrived twice or mixed", i)
				}
				got[i] = len(item) - 1
			}
		}
		for i, n := range sizes {
			if got[byte(i)] != n {
				t.Fatalf("item %d has %d bytes, want %d", i, got[byte(i)], n)
			}
		}
	})
}

// TestTable: an id is never used for two operations.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := table{max: 8, mark: parkMark}
		live, seen := map[uint64]bool{}, map[uint64]bool{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if !tab.full() && rapid.Bool().Draw(t, "put") {
				id := tab.put(nil, 0)
				if seen[id] {
					t.Fatalf("id %x was used before", id)
				}
				live[id], seen[id] = true, true
			} else {
				for id := range live {
					tab.drop(id)
					delete(live, id)
					break
				}
			}
			for id := range seen {
				if (tab.get(id) != nil) != live[id] {
					t.Fatalf("id %x: live is %v", id, live[id])
				}
			}
			n := 0
			tab.all(func(id uint64, _ *slot) {
				n++
				if !live[id] {
					t.Fatalf("all shows %x", id)
				}
			})
			if n != len(live) || tab.used != n {
				t.Fatalf("%d in use, %d shown, %d live", tab.used, n, len(live))
			}
		}
	})
}

func FuzzAssembler(f *testing.F) {
	b := builder{pool: mem.NopBufferPool{}}
	b.add(1, 2*partMin, func(dst []byte) []byte { return append(dst, make([]byte, 2*partMin)...) })
	b.addPart()
	f.Add(*b.take().buf)
	f.Add([]byte{0x1a, 0x06, 0x08, 0x01, 0x10, 0x02, 0x1a, 0x00})
	f.Fuzz(func(t *testing.T, wire []byte) {
		var a assembler
		for r := (&reader{rest: wire}); r.next(); {
			if r.num != fieldPart {
				continue
			}
			if whole := a.part(r); len(whole) > len(wire) {
				t.Fatalf("%d bytes came out of %d", len(whole), len(wire))
			}
		}
	})
}

func FuzzDecodeHello(f *testing.F) {
	h := hello{proxy: "p", incarnation: 1, lane: 1}
	f.Add(*h.frame().buf)
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, credit, err := decodeHello(b); err == nil && (h.lane != 1 && h.lane != 2 || credit < 0) {
			t.Fatalf("%+v, credit %d", h, credit)
		}
	})
}
