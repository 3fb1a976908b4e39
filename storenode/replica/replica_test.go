// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/storenode/disk"
)

func sample() Meta {
	return Meta{
		Cluster: 7, Shard: 3, Incarnation: 11, Term: 5, Instance: 99, BootID: [16]byte{1, 2, 3}, Clean: true,
		FlushSync: true, Floor: 4096, Seen: Seen{Term: 5, ModRevision: 77, EtcdClusterID: 12}, Cuts: []Cut{{8, 64}, {128, 256}},
	}
}

func TestMetaSurvivesPowerLossAtEveryPoint(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		fs := disk.NewMemory()
		if err := fs.MkdirAll("r"); err != nil {
			t.Fatal(err)
		}
		m := sample()
		f, err := CreateMeta(fs, "r", m)
		if err != nil {
			t.Fatal(err)
		}
		for range rng.IntN(5) {
			m.Term++
			if err := f.Store(m); err != nil {
				t.Fatal(err)
			}
		}
		got, _, err := LoadMeta(fs.Crash(rng), "r")
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if d := cmp.Diff(m, got); d != "" {
			t.Fatalf("seed %d: a stored meta file changed: %s", seed, d)
		}
	}
}

// TestAFailedStoreHarmsNothing has a write fail, the retry fail, and the power
// go at any point of that.
func TestAFailedStoreHarmsNothing(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 2))
		fs := disk.NewMemory()
		if err := fs.MkdirAll("r"); err != nil {
			t.Fatal(err)
		}
		m := sample()
		f, err := CreateMeta(fs, "r", m)
		for range rng.IntN(3) {
			m.Term++
			err = errors.Join(err, f.Store(m))
		}
		if err != nil {
			t.Fatal(err)
		}
		next := m
		next.Term++
		var after *disk.Memory
		calls, last := 0, rng.IntN(12)
		fs.Hook(func(c disk.Call) error {
			calls++
			if calls == last {
				after = fs.Crash(rng)
			}
			if calls <= 8 && (c.Op == disk.OpSync || c.Op == disk.OpWrite && calls%2 == 0) {
				return syscall.ENOSPC
			}
			return nil
		})
		for f.Store(next) != nil {
		}
		if after == nil {
			fs.Hook(nil)
			after = fs.Crash(rng)
			m = next
		}
		got, _, err := LoadMeta(after, "r")
		if err != nil || !cmp.Equal(got, m) && !cmp.Equal(got, next) {
			t.Fatalf("seed %d: %v %v", seed, got.Term, err)
		}
	}
}

func TestASlotThatTheDiskCannotReadIsNotTorn(t *testing.T) {
	fs := disk.NewMemory()
	if err := fs.MkdirAll("r"); err != nil {
		t.Fatal(err)
	}
	f, err := CreateMeta(fs, "r", sample())
	if err = errors.Join(err, f.Store(sample())); err != nil {
		t.Fatal(err)
	}
	fs.Hook(func(c disk.Call) error {
		if c.Op == disk.OpRead && c.Name == "r/meta.a" {
			return syscall.EIO
		}
		return nil
	})
	if _, _, err := LoadMeta(fs, "r"); !errors.Is(err, syscall.EIO) {
		t.Fatalf("went back to the older slot: %v", err)
	}
	if _, err := CreateMeta(fs, "r", sample()); !fault.Is(err, fault.Exists) {
		t.Fatalf("created anew: %v", err)
	}
}

func TestMetaTellsAbsentFromUnreadable(t *testing.T) {
	fs := disk.NewMemory()
	if err := fs.MkdirAll("r"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadMeta(fs, "r"); !fault.Is(err, fault.NotFound) {
		t.Fatalf("no slot: %v", err)
	}
	f, err := CreateMeta(fs, "r", sample())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Store(sample()); err != nil {
		t.Fatal(err)
	}
	flip := func(name string, at int64) {
		file, err := fs.Open("r/"+name, disk.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		if _, err := file.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 0x40
		if _, err := file.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	flip("meta.a", 50)
	if _, _, err := LoadMeta(fs, "r"); err != nil {
		t.Fatalf("one good slot is enough: %v", err)
	}
	flip("meta.b", 50)
	if _, _, err := LoadMeta(fs, "r"); !fault.Is(err, fault.Corrupt) {
		t.Fatalf("two bad slots: %v", err)
	}
	if _, err := CreateMeta(fs, "r", sample()); !fault.Is(err, fault.Exists) {
		t.Fatalf("an unreadable replica was created anew: %v", err)
	}
	flip("meta.b", 50)
	flip("meta.b", 8) // a newer format
	if _, _, err := LoadMeta(fs, "r"); !fault.Is(err, fault.Incompatible) {
		t.Fatalf("newer format: %v", err)
	}
}

func TestEveryBitOfASlotCounts(t *testing.T) {
	m := sample()
	b := m.encode(9)
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if _, _, err := decodeMeta(b); err == nil {
			t.Fatalf("bit %d flipped unnoticed", i)
		}
		b[i/8] ^= 1 << (i % 8)
	}
}

func FuzzDecodeMeta(f *testing.F) {
	m := sample()
	f.Add(m.encode(1))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, seq, err := decodeSlot(b)
		if err != nil {
			return
		}
		again, seq2, err := decodeMeta(m.encode(seq))
		if err != nil || seq != seq2 || !cmp.Equal(m, again) {
			t.Fatalf("no round trip: %v %v", m, err)
		}
	})
}

func TestRoles(t *testing.T) {
	m := NewMachine(4, 9)
	kind := fault.KindOf
	if k := kind(m.Fence(3)); k != fault.Conflict {
		t.Fatalf("a lower term was promised: %v", k)
	}
	if err := m.Fence(5); err != nil || m.Term() != 5 {
		t.Fatal(err)
	}
	if _, err := m.Lead(5, 8); kind(err) != fault.Conflict {
		t.Fatalf("led on another process's promise: %v", err)
	}
	if _, err := m.Lead(4, 9); kind(err) != fault.Conflict {
		t.Fatalf("led an old term: %v", err)
	}
	if begin, err := m.Lead(5, 9); err != nil || !begin || m.Role() != Recovering {
		t.Fatal(begin, err, m.Role())
	}
	m.BarrierApplied(4)
	if m.Role() != Recovering {
		t.Fatal("an older term's barrier made a leader")
	}
	m.BarrierApplied(5)
	if begin, err := m.Lead(5, 9); err != nil || begin || m.Role() != Leader {
		t.Fatal(begin, err, m.Role())
	}
	if err := m.Fence(6); err != nil || m.Role() != Fenced {
		t.Fatal("a higher term ends leadership", err, m.Role())
	}
	m.Fail("disk")
	if _, err := m.Lead(6, 9); kind(err) != fault.Corrupt {
		t.Fatalf("a failed replica leads: %v", err)
	}
	if err := m.Fence(7); kind(err) != fault.Corrupt {
		t.Fatalf("a failed replica promises: %v", err)
	}
}
