// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/view/flat"
)

var rewrite = flag.Bool("rewrite", false, "write golden files")

// sample views: 900 messages in three topics, of which some have tags and
// groups, over two pages of everything that has pages but spans.
func filled() *Queues { return filledWith(900) }

func filledWith(n uint64) *Queues {
	q := New(4096)
	for i := range n {
		q.Append(ident.Topic(i%3+1), ident.Queue(i%2)<<63|ident.Queue(i%5), Posting{
			LSN: ident.LSN(4096 + i*256), Bytes: uint32(48 + i), TagHash: uint32(i%3) << 20, GroupHash: i % 4 << 61,
		}, int64(1_700_000_000_000+i/2))
	}
	return q
}

const filledEnd = 4096 + 900*256

// manySpans has more queues than a directory page holds.
func manySpans() *Queues {
	q := New(8)
	for i := range uint64(700) {
		q.Append(ident.Topic(i%4+1), ident.Queue(i*i), Posting{LSN: ident.LSN(8 + i*64), Bytes: 64}, int64(i))
	}
	return q
}

const manySpansEnd = 8 + 700*64

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

// TestGolden reads what the first version wrote, and writes it again.
func TestGolden(t *testing.T) {
	q := filled()
	q.Trimmed(func(yield func(Span) bool) { yield(Span{Topic: 1, Queue: 0, Count: 7}) })
	var b bytes.Buffer
	if err := q.Checkpoint(&b); err != nil {
		t.Fatal(err)
	}
	old := New(0)
	if err := old.Restore(bytes.NewReader(golden(t, "checkpoint.v1.bin", b.Bytes()))); err != nil {
		t.Fatal(err)
	}
	if old.Digest() != q.Digest() {
		t.Fatal("restored another state")
	}
	run := q.Freeze(4096, filledEnd)
	queues, times := sections(t, run)
	queues, times = golden(t, "queues.v1.bin", queues), golden(t, "times.v1.bin", times)
	s, err := Open(section(queues), section(times), nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, run, s)
}

// same checks that two sources of one segment answer alike.
func same(t *testing.T, a, b Source) {
	t.Helper()
	n := 0
	for want := range a.Directory() {
		got, ok, err := b.Find(want.Topic, want.Queue)
		if err != nil || !ok || got.Base != want.Base || got.Count != want.Count {
			t.Fatalf("%+v, want %+v: %v", got, want, err)
		}
		x, y := make([]Posting, want.Count), make([]Posting, want.Count)
		if _, err := a.Read(want, want.Base, x); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Read(got, want.Base, y); err != nil || !cmp.Equal(x, y) {
			t.Fatalf("%v: %s", err, cmp.Diff(x, y))
		}
		n++
	}
	for span, err := range b.Directory() {
		if err != nil {
			t.Fatal(err)
		}
		if _, ok, _ := a.Find(span.Topic, span.Queue); !ok {
			t.Fatalf("%+v is not there", span)
		}
		n--
	}
	if n != 0 || a.Segment() != b.Segment() {
		t.Fatalf("%d spans too few; segments %v, %v", n, a.Segment(), b.Segment())
	}
}

func TestDirectoryPages(t *testing.T) {
	run := manySpans().Freeze(8, manySpansEnd)
	s := store(t, run)
	same(t, run, s)
	if s.spans.Count() < 3 {
		t.Fatalf("%d pages", s.spans.Count())
	}
	for i := range ident.Queue(700) {
		for topic := range ident.Topic(6) {
			_, want, _ := run.Find(topic, i)
			if _, ok, err := s.Find(topic, i); err != nil || ok != want {
				t.Fatalf("(%d, %d): %v, want %v: %v", topic, i, ok, want, err)
			}
		}
	}
}

func TestEmptyRun(t *testing.T) {
	run := New(8).Freeze(8, 56)
	s := store(t, run)
	same(t, run, s)
	if _, ok, err := s.Since(0); ok || err != nil {
		t.Fatal(ok, err)
	}
}

// readAll asks for everything that a run holds.
func readAll(s Source) error {
	var row [postingsPerPage]Posting
	for span, err := range s.Directory() {
		if err != nil {
			return err
		}
		if _, _, err := s.Find(span.Topic, span.Queue); err != nil {
			return err
		}
		for o := span.Base; o < span.End(); o += ident.Offset(len(row)) {
			if _, err := s.Read(span, o, row[:]); err != nil {
				return err
			}
		}
	}
	return nil
}

func readTimes(s Source) error {
	for _, ms := range []int64{0, 134, 255, 256, 449} { // each page, to its last sample
		if _, _, err := s.Since(1_700_000_000_000 + ms); err != nil {
			return err
		}
	}
	return nil
}

// TestEveryByte flips a bit of each byte of both sections: opening or reading
// notices.
func TestEveryByte(t *testing.T) {
	queues, times := sections(t, filledWith(270).Freeze(4096, filledEnd)) // two pages of postings
	ask := func() error {
		s, err := Open(section(queues), section(times), nil)
		if err != nil {
			return err
		}
		return errors.Join(readAll(s), readTimes(s))
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{queues, times} {
		for i := range b {
			b[i] ^= 1 << (i % 8)
			if err := ask(); !fault.Is(err, fault.Corrupt) {
				t.Fatalf("byte %d: %v", i, err)
			}
			b[i] ^= 1 << (i % 8)
		}
	}
}

// FuzzOpen checks that sections of any bytes are refused or answer, with sound
// checksums too: the fuzzer changes what stands in the pages.
func FuzzOpen(f *testing.F) {
	queues, times := sections(f, filled().Freeze(4096, filledEnd))
	f.Add(queues, times)
	queues, times = sections(f, manySpans().Freeze(8, manySpansEnd))
	f.Add(queues, times)
	f.Fuzz(func(t *testing.T, queues, times []byte) {
		s, err := Open(section(queues), section(times), nil)
		if err == nil {
			err = errors.Join(readAll(s), readTimes(s))
		}
		if err != nil && !fault.Is(err, fault.Corrupt) {
			t.Fatal(err)
		}
	})
}

// FuzzPages gives pages of any content sound checksums, so that the decoders
// behind them are reached.
func FuzzPages(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{0, 1, 1, 0, 1}, uint32(1), uint64(1), uint64(0))
	f.Fuzz(func(t *testing.T, postings, spans []byte, count uint32, topic, queue uint64) {
		if len(postings) > flat.PageBytesMax/2 || len(spans) > flat.PageBytesMax/2 {
			return
		}
		var b bytes.Buffer
		e := flat.NewEncoder(&b)
		pages := flat.NewPageWriter(e)
		pages.Write(postings)
		dir := flat.NewPageWriter(e)
		dir.Write(spans)
		var tail bytes.Buffer
		te := flat.NewEncoder(&tail)
		te.U8(sectionVersion)
		te.UV(8)
		te.UV(1 << 20)
		te.UV(uint64(count))
		te.Raw(flat.AppendPageLens(nil, pages.Ends()))
		te.Raw(flat.AppendPageLens(nil, dir.Ends()))
		te.UV(topic)
		te.UV(queue)
		if err := te.Flush(); err != nil {
			t.Fatal(err)
		}
		flat.WriteTail(e, tail.Bytes())
		if err := e.Flush(); err != nil {
			t.Fatal(err)
		}
		_, times := sections(t, New(8).Freeze(8, 1<<20))
		s, err := Open(section(b.Bytes()), section(times), nil)
		if err == nil {
			err = readAll(s)
		}
		if err != nil && !fault.Is(err, fault.Corrupt) {
			t.Fatal(err)
		}
	})
}

func FuzzRestore(f *testing.F) {
	for _, q := range []*Queues{New(8), filled(), manySpans()} {
		var b bytes.Buffer
		if err := q.Checkpoint(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q := New(16)
		err := q.Restore(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, flat.ErrDamaged) || q.Len() != 0 || q.ActiveBase() != 16 {
				t.Fatal(err)
			}
			return
		}
		var again bytes.Buffer
		if err := q.Checkpoint(&again); err != nil {
			t.Fatal(err)
		}
		r := New(0)
		if err := r.Restore(&again); err != nil || r.Digest() != q.Digest() {
			t.Fatalf("restored twice: %v", err)
		}
		run := q.Freeze(q.ActiveBase(), 1<<63)
		same(t, run, store(t, run))
	})
}
