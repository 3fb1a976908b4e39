// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mansiomq/mansio/storenode/record"
)

var rewrite = flag.Bool("rewrite", false, "write golden files")

func draw(t *rapid.T) record.Config {
	b := record.Config{
		Kind: record.ConfigKind(rapid.IntRange(1, 2).Draw(t, "kind")), ID: rapid.Uint64Range(1, 4).Draw(t, "id"),
		RestoreEpoch: rapid.Uint64Range(0, 1).Draw(t, "epoch"), Revision: rapid.Uint64Range(0, 9).Draw(t, "revision"),
		Deleted: rapid.IntRange(0, 4).Draw(t, "deleted") == 0,
	}
	if !b.Deleted {
		b.Bytes = rapid.SliceOfN(rapid.Byte(), 1, 5).Draw(t, "bytes")
	}
	return b
}

func TestNewestWinsAndRestoreIsLive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live, restored := New(), New()
		model := map[[2]uint64]record.Config{}
		for range rapid.IntRange(0, 40).Draw(t, "entries") {
			b := draw(t)
			k := [2]uint64{uint64(b.Kind), b.ID}
			old, known := model[k]
			news := !known || b.RestoreEpoch > old.RestoreEpoch || b.RestoreEpoch == old.RestoreEpoch && b.Revision > old.Revision
			if news {
				model[k] = b
			}
			if got := live.Apply(&b); got != news {
				t.Fatalf("%+v: news %v, want %v", b, got, news)
			}
			restored.Apply(&b)
			var bytes bytes.Buffer
			if err := restored.Checkpoint(&bytes); err != nil {
				t.Fatal(err)
			}
			restored = New()
			if err := restored.Restore(&bytes); err != nil {
				t.Fatal(err)
			}
			if live.Digest() != restored.Digest() {
				t.Fatal("restored and live differ")
			}
		}
		for k, want := range model {
			got, ok := live.Get(record.ConfigKind(k[0]), k[1])
			if d := cmp.Diff(want, got); !ok || d != "" {
				t.Fatalf("%v: %s", k, d)
			}
		}
	})
}

func FuzzRestore(f *testing.F) {
	c := New()
	c.Apply(&record.Config{Kind: 1, ID: 3, Revision: 7, Bytes: []byte("x")})
	c.Apply(&record.Config{Kind: 2, ID: 3, Revision: 8, Deleted: true})
	var seed bytes.Buffer
	if err := c.Checkpoint(&seed); err != nil {
		f.Fatal(err)
	}
	f.Add(seed.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		c := New()
		if c.Restore(bytes.NewReader(b)) != nil {
			if c.Digest() != New().Digest() {
				t.Fatal("a refused checkpoint changed the view")
			}
			return
		}
		var out bytes.Buffer
		if err := c.Checkpoint(&out); err != nil {
			t.Fatal(err)
		}
		again := New()
		if err := again.Restore(&out); err != nil || again.Digest() != c.Digest() {
			t.Fatalf("no round trip: %v", err)
		}
	})
}

// TestStartRulesAreAlwaysNews: their entries carry the group as id, whatever the
// topic, and revisions come in any order.
func TestStartRulesAreAlwaysNews(t *testing.T) {
	c := New()
	for _, revision := range []uint64{9, 3, 3} {
		if !c.Apply(&record.Config{Kind: record.ConfigStart, ID: 5, Revision: revision, Bytes: []byte("rule")}) {
			t.Fatalf("revision %d is no news", revision)
		}
	}
	if c.Digest() != New().Digest() {
		t.Fatal("start rules are kept")
	}
}

// TestGolden reads the checkpoint that the first version wrote.
func TestGolden(t *testing.T) {
	c := New()
	c.Apply(&record.Config{Kind: record.ConfigTopic, ID: 300, RestoreEpoch: 1, Revision: 1 << 40, Bytes: []byte("a topic")})
	c.Apply(&record.Config{Kind: record.ConfigTopic, ID: 2, Revision: 8, Deleted: true})
	c.Apply(&record.Config{Kind: record.ConfigGroup, ID: 2, Revision: 9, Bytes: []byte("a group")})
	var got bytes.Buffer
	if err := c.Checkpoint(&got); err != nil {
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
	if err := n.Restore(bytes.NewReader(want)); err != nil || n.Digest() != c.Digest() {
		t.Fatal(err)
	}
}
