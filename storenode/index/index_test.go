// SPDX-License-Identifier: Apache-2.0

package index

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/view/keyindex"
	"github.com/mansiomq/mansio/storenode/view/queue"
)

var rewrite = flag.Bool("rewrite", false, "write golden files")

const dir = "/s"

func newDisk(t testing.TB) *disk.Memory {
	t.Helper()
	m := disk.NewMemory()
	if err := m.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	return m
}

const (
	base ident.LSN = 8
	end  ident.LSN = 8 + 600*128
)

var head = Head{Cluster: 0xc1, Shard: 7, Base: base, End: end, LastCRC: 0xabcdef01}

// runs derives a small segment: 600 messages in three topics.
func runs() (*queue.Run, *keyindex.Run) {
	q, k := queue.New(base), keyindex.New()
	for i := range uint64(600) {
		lsn := base + ident.LSN(i*128)
		h := message.Head{Topic: ident.Topic(i%3 + 1), Queue: ident.Queue(i % 2), IDHash: i + 1, KeyHashes: []uint32{uint32(i % 10)}}
		q.Append(h.Topic, h.Queue, queue.Posting{LSN: lsn, Bytes: 100, TagHash: uint32(i % 2), GroupHash: i % 5}, int64(1000+i/2))
		k.Add(lsn, message.Append(nil, &h, nil, nil))
	}
	return q.Freeze(base, end), k.Freeze(base, end)
}

func write(t testing.TB, fs disk.FS) {
	t.Helper()
	q, k := runs()
	if err := Write(fs, dir, head, q, k); err != nil {
		t.Fatal(err)
	}
}

// check opens the index and compares what it says with the runs it was made of.
func check(fs disk.FS) error {
	f, err := Open(fs, dir, base)
	if err != nil {
		return err
	}
	return errors.Join(checkFile(f), f.Close())
}

func checkFile(f *File) error {
	if err := f.Check(head); err != nil {
		return err
	}
	q, k := runs()
	for want := range q.Directory() {
		span, ok, err := f.Queues().Find(want.Topic, want.Queue)
		if err != nil || !ok || span.Base != want.Base || span.Count != want.Count {
			return fmt.Errorf("span %+v, want %+v: %w", span, want, err)
		}
		got, all := make([]queue.Posting, want.Count), make([]queue.Posting, want.Count)
		if _, err := f.Queues().Read(span, span.Base, got); err != nil {
			return err
		}
		if _, err := q.Read(want, want.Base, all); err != nil || !cmp.Equal(got, all) {
			return fmt.Errorf("postings: %s %w", cmp.Diff(all, got), err)
		}
	}
	for ms := int64(999); ms < 1302; ms++ {
		want, wantOK, _ := q.Since(ms)
		if got, ok, err := f.Queues().Since(ms); err != nil || got != want || ok != wantOK {
			return fmt.Errorf("since %d: %d %v, want %d %v: %w", ms, got, ok, want, wantOK, err)
		}
	}
	for i := range uint32(11) {
		ask := keyindex.Query{Key: keyindex.OfKey(1, i), To: math.MaxUint64, Max: 1000}
		want, _ := k.Find(nil, ask)
		if got, err := f.Keys().Find(nil, ask); err != nil || !cmp.Equal(got, want) {
			return fmt.Errorf("key %d: %s %w", i, cmp.Diff(want, got), err)
		}
	}
	return f.Verify()
}

func TestRoundTrip(t *testing.T) {
	m := newDisk(t)
	if err := check(m); !fault.Is(err, fault.NotFound) {
		t.Fatalf("no file: %v", err)
	}
	write(t, m)
	if err := check(m); err != nil {
		t.Fatal(err)
	}
	if all, err := List(m, dir); err != nil || !cmp.Equal(all, []ident.LSN{base}) {
		t.Fatalf("%v, %v", all, err)
	}
}

func TestOtherHistoryOtherLog(t *testing.T) {
	m := newDisk(t)
	write(t, m)
	f, err := Open(m, dir, base)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(*Head)
		kind   fault.Kind
	}{
		{func(h *Head) { h.Cluster++ }, fault.Incompatible},
		{func(h *Head) { h.Shard++ }, fault.Incompatible},
		{func(h *Head) { h.End += 8 }, fault.Corrupt},
		{func(h *Head) { h.LastCRC++ }, fault.Corrupt},
	} {
		want := head
		c.change(&want)
		if err := f.Check(want); !fault.Is(err, c.kind) {
			t.Errorf("%+v: %v, want %v", want, err, c.kind)
		}
	}
	// A file under another segment's name is no index of that segment.
	if err := m.Rename(dir+"/"+Name(base), dir+"/"+Name(base+8)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(m, dir, base+8); !fault.Is(err, fault.Corrupt) {
		t.Fatalf("misplaced: %v", err)
	}
}

// TestEveryByte flips a bit of every byte of the file: opening or verifying it
// notices. Package container does the same with every bit.
func TestEveryByte(t *testing.T) {
	m := newDisk(t)
	write(t, m)
	name := dir + "/" + Name(base)
	whole, err := disk.ReadFile(m, name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := m.Open(name, disk.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range whole {
		at := int64(i)
		if _, err := f.WriteAt([]byte{b ^ 1<<(i%8)}, at); err != nil {
			t.Fatal(err)
		}
		if err := notice(m); !fault.Is(err, fault.Corrupt) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if _, err := f.WriteAt(whole[i:i+1], at); err != nil {
			t.Fatal(err)
		}
	}
}

func notice(fs disk.FS) error {
	f, err := Open(fs, dir, base)
	if err != nil {
		return err
	}
	return errors.Join(f.Verify(), f.Close())
}

func TestRetiredUnderReaders(t *testing.T) {
	m := newDisk(t)
	write(t, m)
	f, err := Open(m, dir, base)
	if err != nil {
		t.Fatal(err)
	}
	var queues queue.Archive
	var keys keyindex.Archive
	queues.Add(f.Queues())
	keys.Add(f.Keys())
	held := queues.Sources()
	if err := Remove(m, dir, base); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := held[0].Find(1, 0); !ok || err != nil {
		t.Fatalf("removed, still open: %v %v", ok, err)
	}
	if len(queues.Retire(end-8)) != 0 || len(queues.Retire(end)) != 1 || len(keys.Retire(end)) != 1 {
		t.Fatal("retired the wrong segments")
	}
	if _, _, err := held[0].Find(1, 0); !fault.Is(err, fault.NotFound) {
		t.Fatalf("retired: %v", err)
	}
	if err := Remove(m, dir, base); err != nil {
		t.Fatalf("removing what is not there: %v", err)
	}
	if _, ok := queues.Replace(held[0]); ok {
		t.Fatal("replaced a retired segment")
	}
}

func TestDiskFull(t *testing.T) {
	m := newDisk(t)
	m.Limit(4096)
	q, k := runs()
	err := Write(m, dir, head, q, k)
	if !fault.Is(err, fault.DiskFull) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if names, err := m.List(dir); err != nil || len(names) != 0 {
		t.Fatalf("left %v, %v", names, err)
	}
}

// TestPowerLoss cuts the power at every call of Write: there is the whole file or
// none, and the file if Write returned.
func TestPowerLoss(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 5))
		m := newDisk(t)
		var after *disk.Memory
		calls, at := 0, rng.IntN(16)
		m.Hook(func(disk.Call) error {
			if calls == at {
				after = m.Crash(rng)
			}
			calls++
			return nil
		})
		write(t, m)
		done := after == nil
		if done {
			m.Hook(nil)
			after = m.Crash(rng)
		}
		if err := check(after); err != nil && (done || !fault.Is(err, fault.NotFound)) {
			t.Fatalf("seed %d, call %d: %v", seed, at, err)
		}
		write(t, after)
		if err := check(after); err != nil {
			t.Fatalf("seed %d: written again: %v", seed, err)
		}
	}
}

// TestGolden reads the file that the first version wrote, and writes it again.
func TestGolden(t *testing.T) {
	const golden = "testdata/v1.idx"
	m := newDisk(t)
	write(t, m)
	got, err := disk.ReadFile(m, dir+"/"+Name(base))
	if err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("the format changed")
	}
	old := newDisk(t)
	if err := disk.Replace(old, dir+"/"+Name(base), want); err != nil {
		t.Fatal(err)
	}
	if err := check(old); err != nil {
		t.Fatal(err)
	}
}

func FuzzOpen(f *testing.F) {
	m := newDisk(f)
	write(f, m)
	whole, err := disk.ReadFile(m, dir+"/"+Name(base))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := newDisk(t)
		if err := disk.Replace(m, dir+"/"+Name(base), b); err != nil {
			t.Fatal(err)
		}
		if err := check(m); err == nil && !bytes.Equal(b, whole) {
			t.Fatal("accepted other bytes than those written")
		}
	})
}
