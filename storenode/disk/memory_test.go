// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"bytes"
	"errors"
	iofs "io/fs"
	"math/rand/v2"
	"syscall"
	"testing"
)

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func openMemory(t *testing.T, m *Memory, name string) File {
	t.Helper()
	f, err := m.Open(name, Create)
	must(t, err)
	return f
}

func write(t *testing.T, f File, b []byte, off int64) {
	t.Helper()
	_, err := f.WriteAt(b, off)
	must(t, err)
}

// After a crash every sector of a file holds one of the versions that were
// written since the last sync, or the synced one; and over the seeds each of
// them is seen.
func TestCrashKeepsSyncedAndTearsTheRest(t *testing.T) {
	m := NewMemory()
	f := openMemory(t, m, "f")
	const size = 4 * sectorSize
	write(t, f, bytes.Repeat([]byte{'a'}, size), 0)
	must(t, f.Sync())
	must(t, m.SyncDir("."))
	write(t, f, bytes.Repeat([]byte{'b'}, size), 0)
	write(t, f, bytes.Repeat([]byte{'c'}, size+100), 0)

	seen := map[string]bool{}
	for seed := range uint64(500) {
		got := content(t, m.Crash(seeded(seed)), "f")
		if len(got) != size && len(got) != size+100 {
			t.Fatalf("seed %d: %d bytes", seed, len(got))
		}
		versions := ""
		for at := 0; at < size; at += sectorSize {
			v := got[at : at+1]
			versions += v
			if got[at:at+sectorSize] != string(bytes.Repeat([]byte(v), sectorSize)) {
				t.Fatalf("seed %d: sector at %d is mixed", seed, at)
			}
		}
		seen[versions] = true
	}
	for _, want := range []string{"aaaa", "cccc"} {
		if !seen[want] {
			t.Errorf("never saw %s", want)
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d of 81 mixtures seen", len(seen))
	}
	if got := content(t, m, "f"); got != string(bytes.Repeat([]byte{'c'}, size+100)) {
		t.Error("a crash changed the running disk")
	}
}

func TestCrashLosesNamesThatWereNotSynced(t *testing.T) {
	m := NewMemory()
	create(t, m, "old", "old")
	create(t, m, "gone", "gone")
	must(t, m.SyncDir("."))
	must(t, m.Rename("old", "new"))
	must(t, m.Remove("gone"))
	create(t, m, "fresh", "fresh")

	counts := map[string]int{}
	for seed := range uint64(500) {
		c := m.Crash(seeded(seed))
		names, err := c.List(".")
		must(t, err)
		has := map[string]bool{}
		for _, n := range names {
			has[n] = true
			counts[n]++
		}
		if has["old"] == has["new"] {
			t.Fatalf("seed %d: a rename is not atomic: %v", seed, names)
		}
		if name := "old"; has[name] && content(t, c, name) != "old" {
			t.Fatalf("seed %d: content lost with a rename", seed)
		}
	}
	for _, name := range []string{"old", "new", "gone", "fresh"} {
		if n := counts[name]; n < 50 || n > 450 {
			t.Errorf("%s seen %d times of 500", name, n)
		}
	}

	must(t, m.SyncDir("."))
	for seed := range uint64(50) {
		names, err := m.Crash(seeded(seed)).List(".")
		must(t, err)
		if len(names) != 2 || names[0] != "fresh" || names[1] != "new" {
			t.Fatalf("seed %d: synced names lost: %v", seed, names)
		}
	}
}

// Replace survives every crash point with the old or the new content.
func TestReplaceIsAtomicAndDurable(t *testing.T) {
	for seed := range uint64(300) {
		m := NewMemory()
		must(t, Replace(m, "f", []byte("old")))
		var crashed *Memory
		rng := seeded(seed)
		at, n := rng.IntN(7), 0
		m.Hook(func(Call) error {
			if n == at {
				crashed = m.Crash(rng)
			}
			n++
			return nil
		})
		must(t, Replace(m, "f", []byte("newer")))
		switch {
		case crashed == nil:
			if got := content(t, m.Crash(rng), "f"); got != "newer" {
				t.Fatalf("seed %d: replaced, then lost: %q", seed, got)
			}
		default:
			if got := content(t, crashed, "f"); got != "old" && got != "newer" {
				t.Fatalf("seed %d: crash before call %d left %q", seed, at, got)
			}
		}
	}
}

func TestFailedSyncLosesTheBytesForGood(t *testing.T) {
	m := NewMemory()
	f := openMemory(t, m, "f")
	must(t, m.SyncDir("."))
	write(t, f, []byte("kept"), 0)
	must(t, f.Sync())
	write(t, f, []byte("lost"), 0)
	m.Hook(FailNth(OpSync, 2, syscall.EIO))
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	m.Hook(nil)
	must(t, f.Sync())
	if got := content(t, m, "f"); got != "lost" {
		t.Errorf("the process sees %q", got)
	}
	if got := content(t, m.Crash(seeded(1)), "f"); got != "kept" {
		t.Errorf("after the crash: %q", got)
	}
	write(t, f, []byte("X"), 3)
	must(t, DropCache(f, 0))
	if got := content(t, m, "f"); got != "kepX" {
		t.Errorf("without the cache: %q", got)
	}
}

func TestLie(t *testing.T) {
	m := NewMemory()
	f := openMemory(t, m, "f")
	m.Lie()
	write(t, f, []byte("x"), 0)
	must(t, f.Sync())
	must(t, m.SyncDir("."))
	lost := 0
	for seed := range uint64(100) {
		if b, err := ReadFile(m.Crash(seeded(seed)), "f"); err != nil || len(b) == 0 {
			lost++
		}
	}
	if lost < 20 {
		t.Errorf("a lying disk lost %d of 100", lost)
	}
}

func TestSpace(t *testing.T) {
	m := NewMemory()
	m.Limit(3 * pageSize)
	f := openMemory(t, m, "f")
	write(t, f, make([]byte, pageSize+1), 0)
	if free, total, _ := m.Free("."); free != pageSize || total != 3*pageSize {
		t.Errorf("free %d of %d", free, total)
	}
	if n, err := f.WriteAt(make([]byte, 2*pageSize), pageSize*2); n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("wrote %d beyond the limit: %v", n, err)
	}
	if err := f.Truncate(4 * pageSize); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("grew beyond the limit: %v", err)
	}
	write(t, f, make([]byte, 2*pageSize), 0)
	write(t, f, make([]byte, pageSize), 2*pageSize)
	if free, _, _ := m.Free("."); free != 0 {
		t.Errorf("free %d of a full disk", free)
	}
	must(t, m.Remove("f"))
	if free, _, _ := m.Free("."); free != 3*pageSize {
		t.Errorf("free %d after the remove", free)
	}
	if c := m.Crash(seeded(1)); c.space != 3*pageSize {
		t.Error("the crash changed the size of the disk")
	}
}

func TestHook(t *testing.T) {
	m := NewMemory()
	f := openMemory(t, m, "f")
	var calls []Call
	m.Hook(func(c Call) error {
		calls = append(calls, c)
		if c.Op == OpRename {
			return syscall.EROFS
		}
		return nil
	})
	write(t, f, []byte("ab"), 7)
	if err := m.Rename("f", "g"); !errors.Is(err, syscall.EROFS) {
		t.Errorf("rename: %v", err)
	}
	if _, err := m.Open("g", ReadOnly); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("a failed rename happened: %v", err)
	}
	want := Call{Op: OpWrite, Name: "f", Off: 7, Len: 2, N: 1}
	if len(calls) != 3 || calls[0] != want {
		t.Errorf("calls %+v", calls)
	}
	if n := m.Calls(OpWrite); n != 1 {
		t.Errorf("%d writes counted", n)
	}
}
