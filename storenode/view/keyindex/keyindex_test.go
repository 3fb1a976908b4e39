// SPDX-License-Identifier: Apache-2.0

package keyindex

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/storenode/view/flat"
)

var rewrite = flag.Bool("rewrite", false, "write golden files")

func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

func sections(t interface{ Fatal(...any) }, r *Run) (keys, ids []byte) {
	var k, i bytes.Buffer
	if err := errors.Join(r.WriteKeys(&k), r.WriteIDs(&i)); err != nil {
		t.Fatal(err)
	}
	return k.Bytes(), i.Bytes()
}

func store(t interface{ Fatal(...any) }, r *Run) *Stored {
	keys, ids := sections(t, r)
	s, err := Open(section(keys), section(ids), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stage is the fold and the archive around it, beside the dumb truth: for each
// thing that can be asked for, the entries that have it.
type stage struct {
	x       *Index
	archive Archive
	truth   map[Key][]ident.LSN
	lsn     ident.LSN
	base    ident.LSN
	start   ident.LSN
}

func (s *stage) add(t *rapid.T) {
	h := message.Head{
		Topic:     ident.Topic(rapid.IntRange(1, 2).Draw(t, "topic")),
		IDHash:    rapid.SampledFrom(someIDs).Draw(t, "id"),
		KeyHashes: rapid.SliceOfN(rapid.Uint32Range(0, 2), 0, 3).Draw(t, "keys"),
	}
	gap := ident.LSN(rapid.SampledFrom([]int{8, 16, 1 << 22}).Draw(t, "gap"))
	for i := range rapid.SampledFrom([]int{1, 1, 5, 600}).Draw(t, "times") {
		if i > 0 { // many of a kind, to fill pages
			h.IDHash = someIDs[i%len(someIDs)]
		}
		s.x.Add(s.lsn, message.Append(nil, &h, nil, nil))
		for _, k := range h.KeyHashes {
			s.know(OfKey(h.Topic, k))
		}
		if h.IDHash != 0 {
			s.know(OfID(h.IDHash))
		}
		s.lsn += gap
	}
}

var someIDs = []uint64{0, 1, 2, 7 << 60, 1<<64 - 1}

func (s *stage) know(k Key) {
	if all := s.truth[k]; len(all) == 0 || all[len(all)-1] != s.lsn {
		s.truth[k] = append(all, s.lsn)
	}
}

func (s *stage) seal(t *rapid.T) {
	s.lsn += 48
	r := s.x.Freeze(s.base, s.lsn)
	s.base = s.lsn
	s.archive.Add(r)
	if rapid.Bool().Draw(t, "stored") {
		if _, ok := s.archive.Replace(store(t, r)); !ok {
			t.Fatal("no run to replace")
		}
	}
}

func (s *stage) trim(t *rapid.T) {
	all := s.archive.sources.Snapshot()
	if len(all) == 0 {
		return
	}
	s.start = all[rapid.IntRange(0, len(all)-1).Draw(t, "retired")].Segment().End
	s.archive.Retire(s.start)
}

func (s *stage) restore(t *rapid.T) {
	var b bytes.Buffer
	if err := s.x.Checkpoint(&b); err != nil {
		t.Fatal(err)
	}
	x := New()
	if err := x.Restore(&b); err != nil {
		t.Fatal(err)
	}
	if x.Digest() != s.x.Digest() {
		t.Fatal("restored view has another digest")
	}
	s.x = x
}

var someKey = rapid.OneOf(
	rapid.Custom(func(t *rapid.T) Key {
		return OfKey(ident.Topic(rapid.IntRange(1, 3).Draw(t, "topic")), rapid.Uint32Range(0, 3).Draw(t, "key"))
	}),
	rapid.Custom(func(t *rapid.T) Key {
		return OfID(rapid.SampledFrom([]uint64{1, 2, 3, 7 << 60, 1<<64 - 1}).Draw(t, "id"))
	}),
)

func (s *stage) check(t *rapid.T) {
	q := Query{
		Key: someKey.Draw(t, "key"), Newest: rapid.Bool().Draw(t, "newest"),
		From: ident.LSN(rapid.Uint64Range(0, uint64(s.lsn)).Draw(t, "from")),
		To:   ident.LSN(rapid.Uint64Range(0, uint64(s.lsn)+8).Draw(t, "to")),
		Max:  rapid.SampledFrom([]int{0, 1, 2, 10, 10000}).Draw(t, "max"),
	}
	if rapid.Bool().Draw(t, "unbounded") {
		q.From, q.To = 0, math.MaxUint64
	}
	want, more := s.answer(q)
	active := s.x.Snapshot()
	got, gotMore, err := s.archive.Find([]ident.LSN{7}, active, q)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(append([]ident.LSN{7}, want...), got); d != "" || more != gotMore {
		t.Fatalf("%+v: more %v, want %v: %s", q, gotMore, more, d)
	}
	// A segment sealed after the snapshot was taken is asked twice.
	s.restore(t)
	twice := Archive{}
	for _, src := range s.archive.sources.Snapshot() {
		twice.Add(src)
	}
	twice.Add(s.x.Freeze(s.base, s.lsn+8))
	if got, _, err = twice.Find(nil, active, q); err != nil || !slices.Equal(want, got) {
		t.Fatalf("%+v, sealed meanwhile: %v, %s", q, err, cmp.Diff(want, got))
	}
	var b bytes.Buffer
	if err := (&Index{keys: active.keys, ids: active.ids, base: active.base}).Checkpoint(&b); err != nil {
		t.Fatal(err)
	}
	if err := s.x.Restore(&b); err != nil {
		t.Fatal(err)
	}
}

// answer is what a query must find, the slow way.
func (s *stage) answer(q Query) (want []ident.LSN, more bool) {
	var all []ident.LSN
	for _, lsn := range s.truth[q.Key] {
		if lsn >= q.From && lsn < q.To && lsn >= s.start {
			all = append(all, lsn)
		}
	}
	for i := range all {
		if len(want) == q.Max {
			return want, true
		}
		if q.Newest {
			i = len(all) - 1 - i
		}
		want = append(want, all[i])
	}
	return want, false
}

// TestModel drives the fold, runs in memory and in bytes, trims and restores at
// every boundary, against the dumb truth.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &stage{x: New(), truth: map[Key][]ident.LSN{}, lsn: 8, base: 8}
		t.Repeat(map[string]func(*rapid.T){
			"add": s.add, "more": s.add, "seal": s.seal, "trim": s.trim, "restore": s.restore, "": s.check,
		})
	})
}

// TestManyPages asks a section of many pages for hashes that fill several, stand
// alone, or are not there.
func TestManyPages(t *testing.T) {
	x, lsn := New(), ident.LSN(8)
	ids := map[uint64][]ident.LSN{}
	for i := range uint64(20_000) {
		id := i*0x9e3779b97f4a7c15 | 1
		if i%4 == 0 {
			id = 1 << 63 // five thousand times
		}
		h := message.Head{Topic: 1, IDHash: id}
		x.Add(lsn, message.Append(nil, &h, nil, nil))
		ids[id] = append(ids[id], lsn)
		lsn += 8
	}
	r := x.Freeze(8, lsn)
	s := store(t, r)
	for id, want := range ids {
		if id>>60 != 7 && id != 1<<63 { // a sixteenth of them will do
			continue
		}
		q := Query{Key: OfID(id), To: lsn, Max: 1 << 20}
		got, err := s.Find(nil, q)
		if err != nil || !cmp.Equal(got, want) {
			t.Fatalf("id %x: %d of %d, %v", id, len(got), len(want), err)
		}
		if got, err := s.Find(nil, Query{Key: OfID(id + 2), To: lsn, Max: 1}); err != nil || len(got) != len(ids[id+2]) {
			t.Fatalf("id %x: %v, %v", id+2, got, err)
		}
	}
	got, err := s.Find(nil, Query{Key: OfID(1 << 63), From: 4000, To: 4100, Max: 100, Newest: true})
	if err != nil || !cmp.Equal(got, []ident.LSN{4072, 4040, 4008}) {
		t.Fatalf("%v, %v", got, err)
	}
}

// TestKeyTwice gives a message one key twice: the section has it once.
func TestKeyTwice(t *testing.T) {
	var all [2][]byte
	for i, keys := range [][]uint32{{4, 5}, {4, 5, 4}} {
		x := New()
		x.Add(16, message.Append(nil, &message.Head{Topic: 1, KeyHashes: keys}, nil, nil))
		all[i], _ = sections(t, x.Freeze(8, 64))
	}
	if !bytes.Equal(all[0], all[1]) {
		t.Fatalf("%x\n%x", all[0], all[1])
	}
}

// TestEveryByte flips a bit of each byte of both sections: opening or asking
// notices.
func TestEveryByte(t *testing.T) {
	x := New()
	for i := range uint32(700) {
		h := message.Head{Topic: 1, IDHash: uint64(i)%5 + 1, KeyHashes: []uint32{i % 3}}
		x.Add(ident.LSN(8+8*i), message.Append(nil, &h, nil, nil))
	}
	r := x.Freeze(8, 8+8*700)
	keys, ids := sections(t, r)
	ask := func(keys, ids []byte) error {
		s, err := Open(section(keys), section(ids), nil)
		if err != nil {
			return err
		}
		for k := range uint32(3) {
			if _, err := s.Find(nil, Query{Key: OfKey(1, k), To: math.MaxUint64, Max: 1 << 20}); err != nil {
				return err
			}
		}
		for id := range uint64(5) {
			if _, err := s.Find(nil, Query{Key: OfID(id + 1), To: math.MaxUint64, Max: 1 << 20}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := ask(keys, ids); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{keys, ids} {
		for i := range b {
			b[i] ^= 1 << (i % 8)
			if err := ask(keys, ids); !fault.Is(err, fault.Corrupt) {
				t.Fatalf("byte %d: %v", i, err)
			}
			b[i] ^= 1 << (i % 8)
		}
	}
}

func FuzzOpen(f *testing.F) {
	x := New()
	h := message.Head{Topic: 1, IDHash: 5, KeyHashes: []uint32{1, 2}}
	x.Add(16, message.Append(nil, &h, nil, nil))
	keys, ids := sections(f, x.Freeze(8, 64))
	f.Add(keys, ids)
	f.Add(ids, keys)
	f.Fuzz(func(t *testing.T, keys, ids []byte) {
		s, err := Open(section(keys), section(ids), nil)
		if err != nil {
			if !fault.Is(err, fault.Corrupt) {
				t.Fatal(err)
			}
			return
		}
		for _, newest := range []bool{false, true} {
			for _, k := range []Key{OfKey(1, 1), OfID(5)} {
				lsns, err := s.Find(nil, Query{Key: k, To: math.MaxUint64, Max: 10, Newest: newest})
				if err == nil && len(lsns) > 10 || err != nil && !fault.Is(err, fault.Corrupt) {
					t.Fatal(lsns, err)
				}
			}
		}
	})
}

func FuzzRestore(f *testing.F) {
	x := New()
	h := message.Head{Topic: 1, IDHash: 5, KeyHashes: []uint32{1, 2}}
	x.Add(16, message.Append(nil, &h, nil, nil))
	x.Add(48, message.Append(nil, &h, nil, nil))
	var b bytes.Buffer
	if err := x.Checkpoint(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		x := New()
		if err := x.Restore(bytes.NewReader(b)); err != nil {
			if !errors.Is(err, flat.ErrDamaged) || x.Len() != 0 {
				t.Fatal(err, x.Len())
			}
			return
		}
		var again bytes.Buffer
		if err := x.Checkpoint(&again); err != nil {
			t.Fatal(err)
		}
		y := New()
		if err := y.Restore(&again); err != nil || y.Digest() != x.Digest() {
			t.Fatalf("restored twice: %v", err)
		}
		end := x.base + 1<<36
		if x.Len() > 0 {
			store(t, x.Freeze(x.base, end))
		}
	})
}

// TestGolden reads what the first version wrote, and writes it again.
func TestGolden(t *testing.T) {
	x := New()
	for i := range uint64(600) {
		h := message.Head{Topic: ident.Topic(i%3 + 1), IDHash: (i + 1) << 40, KeyHashes: []uint32{uint32(i) % 7, 9}}
		x.Add(ident.LSN(4096+i*128), message.Append(nil, &h, nil, nil))
	}
	var b bytes.Buffer
	if err := x.Checkpoint(&b); err != nil {
		t.Fatal(err)
	}
	old := New()
	if err := old.Restore(bytes.NewReader(golden(t, "checkpoint.v1.bin", b.Bytes()))); err != nil || old.Digest() != x.Digest() {
		t.Fatal(err)
	}
	run := x.Freeze(4000, 1<<20)
	keys, ids := sections(t, run)
	s, err := Open(section(golden(t, "keys.v1.bin", keys)), section(golden(t, "ids.v1.bin", ids)), nil)
	if err != nil {
		t.Fatal(err)
	}
	for k := range uint32(10) {
		q := Query{Key: OfKey(2, k), To: math.MaxUint64, Max: 1000, Newest: true}
		want, err := run.Find(nil, q)
		got, serr := s.Find(nil, q)
		if err != nil || serr != nil || !cmp.Equal(got, want) {
			t.Fatal(err, serr, cmp.Diff(want, got))
		}
	}
}

func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: the format changed", name)
	}
	return want
}

// busy is 256 k messages of two keys each.
func busy() (*Index, ident.LSN) {
	x := New()
	for i := range uint64(1 << 18) {
		h := message.Head{Topic: 1, IDHash: (i + 1) * 0x9e3779b97f4a7c15, KeyHashes: []uint32{uint32(i) * 2654435761}}
		x.Add(ident.LSN(8+i*1024), message.Append(nil, &h, nil, nil))
	}
	return x, 8 + 1<<28
}

func BenchmarkAdd(b *testing.B) {
	b.ReportAllocs()
	h := message.Head{Topic: 1, IDHash: 1, KeyHashes: []uint32{1}}
	p := message.Append(nil, &h, nil, nil)
	x := New()
	for i := 0; b.Loop(); i++ {
		x.Add(ident.LSN(8+i*1024), p)
		if i%(1<<18) == 1<<18-1 {
			x.Freeze(x.base, ident.LSN(8+i*1024+8))
		}
	}
}

func BenchmarkFind(b *testing.B) {
	x, end := busy()
	run := x.Freeze(8, end)
	known := uint64(77777)
	known *= 0x9e3779b97f4a7c15
	for name, src := range map[string]Source{"run": run, "stored": store(b, run)} {
		b.Run(name, func(b *testing.B) {
			q := Query{Key: OfID(known), To: end, Max: 10}
			for b.Loop() {
				if got, err := src.Find(nil, q); err != nil || len(got) != 1 {
					b.Fatal(got, err)
				}
			}
		})
	}
}

func BenchmarkWriteRun(b *testing.B) {
	x, end := busy()
	run := x.Freeze(8, end)
	size := 0
	for b.Loop() {
		k, i := sections(b, run)
		size = len(k) + len(i)
	}
	b.ReportMetric(float64(size)/(1<<18), "B/message")
}
