// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/mansiomq/mansio/internal/ident"
)

var rewrite = flag.Bool("rewrite", false, "write golden files")

func copyOf(t interface{ Fatal(...any) }, w *Windows) *Windows {
	var b bytes.Buffer
	if err := w.Checkpoint(&b); err != nil {
		t.Fatal(err)
	}
	n := New()
	if err := n.Restore(&b); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAgainstAModelThatForgetsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := New()
		first := map[uint64]Seen{}
		highest := uint64(0)
		for i := range rapid.IntRange(1, 300).Draw(t, "messages") {
			low := uint64(1)
			if highest > 2*Window {
				low = highest - 2*Window
			}
			seq := rapid.Uint64Range(low, highest+rapid.SampledFrom([]uint64{1, 100, Window}).Draw(t, "ahead")).Draw(t, "seq")
			got := w.Seen(7, seq)
			before, was := first[seq]
			old := highest >= Window && seq <= highest-Window
			switch {
			case old:
				if !got.TooOld || got.Duplicate {
					t.Fatalf("seq %d, highest %d: %+v", seq, highest, got)
				}
				continue
			case was:
				if got != before {
					t.Fatalf("seq %d: %+v, want %+v", seq, got, before)
				}
				continue
			case got != Seen{}:
				t.Fatalf("seq %d was never applied: %+v", seq, got)
			}
			lsn, offset := ident.LSN(8*i+8), ident.Offset(i)
			w.Apply(7, seq, lsn, offset, int64(i))
			first[seq] = Seen{Duplicate: true, LSN: lsn, Offset: offset}
			highest = max(highest, seq)
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				n := copyOf(t, w)
				if n.Digest() != w.Digest() {
					t.Fatal("restored and live differ")
				}
				w = n
			}
		}
	})
}

func TestTheOldestProxyIsForgotten(t *testing.T) {
	w := New()
	for id := uint64(1); id <= ProxiesMax; id++ {
		w.Apply(id, 1, 8, 0, int64(1000-id)) // the last one is the oldest
	}
	w.Apply(9999, 1, 16, 1, 2000)
	if w.Seen(ProxiesMax, 1).Duplicate {
		t.Fatal("the oldest proxy is still remembered")
	}
	if !w.Seen(1, 1).Duplicate || !w.Seen(9999, 1).Duplicate {
		t.Fatal("another one was forgotten")
	}
}

func FuzzRestore(f *testing.F) {
	w := New()
	for i := uint64(1); i < 100; i++ {
		w.Apply(i%3+1, i, ident.LSN(8*i), ident.Offset(i), int64(i))
	}
	var seed bytes.Buffer
	if err := w.Checkpoint(&seed); err != nil {
		f.Fatal(err)
	}
	f.Add(seed.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		w := New()
		if w.Restore(bytes.NewReader(b)) != nil {
			return
		}
		if copyOf(t, w).Digest() != w.Digest() {
			t.Fatal("no round trip")
		}
	})
}

func TestEdgeOfTheWindow(t *testing.T) {
	w := New()
	for seq := uint64(1); seq <= Window; seq++ {
		w.Apply(7, seq, ident.LSN(8*seq), 0, 1)
	}
	if !w.Seen(7, 1).Duplicate {
		t.Fatal("forgot a number inside the window")
	}
	w.Apply(7, Window+1, 8, 0, 1)
	if got := w.Seen(7, 1); !got.TooOld || got.Duplicate {
		t.Fatalf("the first number below the window: %+v", got)
	}
	if !w.Seen(7, 2).Duplicate || !w.Seen(7, Window+1).Duplicate {
		t.Fatal("forgot a number inside the window")
	}
	if got := copyOf(t, w).Seen(7, 1); !got.TooOld {
		t.Fatalf("restored: %+v", got)
	}
	w.Apply(7, 10*Window, 8, 0, 1)
	if !w.Seen(7, 9*Window).TooOld || w.Seen(7, 9*Window+1) != (Seen{}) {
		t.Fatal("a leap moved the window wrongly")
	}
}

func TestWithoutANumber(t *testing.T) {
	w := New()
	empty := w.Digest()
	w.Apply(0, 5, 8, 0, 1)
	w.Apply(5, 0, 8, 0, 1)
	if w.Seen(0, 5) != (Seen{}) || w.Seen(5, 0) != (Seen{}) || w.Digest() != empty {
		t.Fatal("remembered a message that has no number")
	}
	w.Apply(5, 3*Window, 8, 0, 1)
	if w.Seen(5, 0) != (Seen{}) {
		t.Fatal("refused a message that has no number")
	}
}

// TestGolden reads the checkpoint that the first version wrote.
func TestGolden(t *testing.T) {
	w := New()
	for i := uint64(1); i < 40; i++ {
		w.Apply(i%3+1<<63, 10_000+i*i, ident.LSN(8*i), ident.Offset(i), int64(1000+i))
	}
	var got bytes.Buffer
	if err := w.Checkpoint(&got); err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		if err := os.WriteFile("testdata/checkpoint.v1.bin", got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/checkpoint.v1.bin")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Fatal("the format changed")
	}
	n := New()
	if err := n.Restore(bytes.NewReader(want)); err != nil || n.Digest() != w.Digest() {
		t.Fatal(err)
	}
}

func BenchmarkApply(b *testing.B) {
	b.ReportAllocs()
	w := New()
	for i := uint64(1); b.Loop(); i++ {
		if w.Seen(7, i) == (Seen{}) {
			w.Apply(7, i, ident.LSN(8*i), ident.Offset(i), int64(i))
		}
	}
}
