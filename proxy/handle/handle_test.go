// SPDX-License-Identifier: Apache-2.0

package handle

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
)

var (
	oldKey = Key{ID: 1, Secret: []byte("first secret of the cluster")}
	newKey = Key{ID: 2, Secret: []byte("second secret of the cluster")}
)

func sample() Handle {
	return Handle{Shard: 3, Delivery: storeapi.Delivery{
		Topic: 0x1122334455667788, Group: 9, Generation: 4, Queue: 7, Offset: 1 << 40, Term: 12, Grant: 4096,
	}}
}

// TestGolden pins the bytes: handles outlive the process that made them.
func TestGolden(t *testing.T) {
	c := NewCodec("6a2c1f1e-0000-4000-8000-000000000001", []Key{oldKey})
	h := sample()
	text := string(c.Append(nil, &h))
	if len(text) != Size {
		t.Errorf("%d characters, want %d", len(text), Size)
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	const want = "0101000000a1432c06030000008877665544332211090000000000000007000000000000000000000000010000" +
		"0c000000000000000010000000000000040000002ecdea13c9046ab8"
	if got := hex.EncodeToString(raw); got != want {
		t.Errorf("bytes\n got %s\nwant %s", got, want)
	}
}

func TestRoundTrip(t *testing.T) {
	c := NewCodec("cluster", []Key{oldKey, newKey})
	rapid.Check(t, func(t *rapid.T) {
		u64 := rapid.Uint64()
		h := Handle{
			Shard: ident.Shard(rapid.Uint32().Draw(t, "shard")),
			Delivery: storeapi.Delivery{
				Topic: ident.Topic(u64.Draw(t, "topic")), Group: ident.Group(u64.Draw(t, "group")),
				Generation: ident.Generation(rapid.Uint32().Draw(t, "generation")),
				Queue:      ident.Queue(u64.Draw(t, "queue")), Offset: ident.Offset(u64.Draw(t, "offset")),
				Term: ident.Term(u64.Draw(t, "term")), Grant: ident.LSN(u64.Draw(t, "grant")),
			},
		}
		got, err := c.Parse(string(c.Append(nil, &h)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(h, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestRotation says that handles signed before a new key came stay valid as
// long as the old key is listed, and no longer.
func TestRotation(t *testing.T) {
	h := sample()
	before := string(NewCodec("cluster", []Key{oldKey}).Append(nil, &h))
	both := NewCodec("cluster", []Key{oldKey, newKey})
	if _, err := both.Parse(before); err != nil {
		t.Errorf("a handle of a listed key: %v", err)
	}
	after := string(both.Append(nil, &h))
	onlyNew := NewCodec("cluster", []Key{newKey})
	if _, err := onlyNew.Parse(after); err != nil {
		t.Errorf("the last key signs: %v", err)
	}
	if _, err := onlyNew.Parse(before); !errors.Is(err, ErrInvalid) {
		t.Errorf("a handle of a removed key: %v, want ErrInvalid", err)
	}
}

func TestRefused(t *testing.T) {
	c := NewCodec("cluster", []Key{oldKey})
	h := sample()
	text := string(c.Append(nil, &h))
	for name, bad := range map[string]string{
		"empty":            "",
		"blank":            strings.Repeat(" ", Size),
		"truncated":        text[:Size-1],
		"longer":           text + "A",
		"another cluster":  string(NewCodec("other", []Key{oldKey}).Append(nil, &h)),
		"another secret":   string(NewCodec("cluster", []Key{{ID: 1, Secret: []byte("guess")}}).Append(nil, &h)),
		"standard base64":  "+" + text[1:],
		"a line break":     text[:10] + "\n" + text[11:],
		"the classic form": "0 1700000000000 60000 3 0 broker-a 2 17 4711",
	} {
		if _, err := c.Parse(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

// TestEveryBitCounts flips each bit of a handle.
func TestEveryBitCounts(t *testing.T) {
	c := NewCodec("cluster", []Key{oldKey})
	h := sample()
	raw, err := base64.RawURLEncoding.DecodeString(string(c.Append(nil, &h)))
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(raw) {
		raw[bit/8] ^= 1 << (bit % 8)
		if _, err := c.Parse(base64.RawURLEncoding.EncodeToString(raw)); !errors.Is(err, ErrInvalid) {
			t.Fatalf("bit %d flipped: %v, want ErrInvalid", bit, err)
		}
		raw[bit/8] ^= 1 << (bit % 8)
	}
}

func TestWithoutKeys(t *testing.T) {
	c := NewCodec("cluster", nil)
	h := sample()
	if c.CanSign() || len(c.Append(nil, &h)) != 0 {
		t.Error("a codec without keys signed")
	}
	signed := string(NewCodec("cluster", []Key{oldKey}).Append(nil, &h))
	if _, err := c.Parse(signed); !errors.Is(err, ErrInvalid) {
		t.Errorf("%v, want ErrInvalid", err)
	}
}

// FuzzParse: whatever is accepted is exactly what Append makes.
func FuzzParse(f *testing.F) {
	c := NewCodec("cluster", []Key{oldKey, newKey})
	h := sample()
	f.Add(string(c.Append(nil, &h)))
	f.Add("")
	f.Add(strings.Repeat("A", Size))
	f.Fuzz(func(t *testing.T, text string) {
		h, err := c.Parse(text)
		if err != nil {
			return
		}
		if again := string(c.Append(nil, &h)); again != text {
			t.Errorf("accepted %q, but its handle is written %q", text, again)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	c := NewCodec("cluster", []Key{oldKey})
	h := sample()
	buf := make([]byte, 0, Size)
	b.ReportAllocs()
	for b.Loop() {
		buf = c.Append(buf[:0], &h)
	}
}

func BenchmarkParse(b *testing.B) {
	c := NewCodec("cluster", []Key{oldKey})
	h := sample()
	text := string(c.Append(nil, &h))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
