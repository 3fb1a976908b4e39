// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/storenode/disk"
)

var rewrite = flag.Bool("rewrite", false, "write golden files")

var testKind = Kind{Magic: [8]byte([]byte("MNSTEST\n")), Format: 3}

const dir = "/d"

func newDisk(t testing.TB) *disk.Memory {
	t.Helper()
	m := disk.NewMemory()
	if err := m.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	return m
}

func parts() []Section {
	return []Section{
		Bytes(7, []byte("a section of 24 bytes...")),
		Bytes(2, nil),
		{9, func(w io.Writer) error {
			for i := range 5 {
				if _, err := fmt.Fprintf(w, "line %d\n", i); err != nil {
					return err
				}
			}
			return nil
		}},
	}
}

var contents = map[uint32]string{7: "a section of 24 bytes...", 2: "", 9: "line 0\nline 1\nline 2\nline 3\nline 4\n"}

func check(fs disk.FS, name string) error {
	f, err := Open(fs, dir, name, testKind)
	if err != nil {
		return err
	}
	err = f.Verify()
	if string(f.Head()) != "head" {
		err = errors.Join(err, fmt.Errorf("head %q", f.Head()))
	}
	for kind, want := range contents {
		r, serr := f.Section(kind)
		if serr != nil {
			return serr
		}
		if got, rerr := io.ReadAll(r); rerr != nil || string(got) != want {
			err = errors.Join(err, rerr, fmt.Errorf("section %d: %q", kind, got))
		}
	}
	return errors.Join(err, f.Close())
}

func write(t testing.TB, fs disk.FS, name string) {
	t.Helper()
	if err := Write(fs, dir, name, testKind, []byte("head"), parts()); err != nil {
		t.Fatal(err)
	}
}

func TestRoundTrip(t *testing.T) {
	m := newDisk(t)
	write(t, m, "f")
	if err := check(m, "f"); err != nil {
		t.Fatal(err)
	}
	if names, _ := m.List(dir); len(names) != 1 {
		t.Fatalf("files %v", names)
	}
	f, err := Open(m, dir, "f", testKind)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Section(8); !fault.Is(err, fault.NotFound) {
		t.Fatalf("section that is not there: %v", err)
	}
	if _, err := Open(m, dir, "g", testKind); !fault.Is(err, fault.NotFound) {
		t.Fatalf("file that is not there: %v", err)
	}
	other := testKind
	other.Format++
	if _, err := Open(m, dir, "f", other); !fault.Is(err, fault.Incompatible) {
		t.Fatalf("another format: %v", err)
	}
	other.Magic[0]++
	if _, err := Open(m, dir, "f", other); !fault.Is(err, fault.Corrupt) {
		t.Fatalf("another kind: %v", err)
	}
}

// TestLargeSection proves that a section larger than all buffers arrives.
func TestLargeSection(t *testing.T) {
	m := newDisk(t)
	want := make([]byte, 3*verifyChunk+5)
	for i := range want {
		want[i] = byte(i * 7)
	}
	if err := Write(m, dir, "f", testKind, nil, []Section{Bytes(1, want[:7]), Bytes(2, want)}); err != nil {
		t.Fatal(err)
	}
	f, err := Open(m, dir, "f", testKind)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Verify(); err != nil {
		t.Fatal(err)
	}
	r, err := f.Section(2)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

// TestEveryBit flips each bit of a file, and cuts and extends it everywhere: all
// of that is noticed before anything of it is used.
func TestEveryBit(t *testing.T) {
	m := newDisk(t)
	write(t, m, "f")
	whole, err := disk.ReadFile(m, dir+"/f")
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, b []byte) {
		t.Helper()
		m := newDisk(t)
		if err := disk.Replace(m, dir+"/f", b); err != nil {
			t.Fatal(err)
		}
		if err := check(m, "f"); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for bit := range 8 * len(whole) {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		try(fmt.Sprintf("bit %d", bit), b)
	}
	for n := range whole {
		try(fmt.Sprintf("first %d bytes", n), whole[:n])
	}
	try("extended", append(bytes.Clone(whole), 0))
	try("extended by 8", append(bytes.Clone(whole), make([]byte, 8)...))
}

// TestGaps fills the zeros between parts that do not end at a multiple of 8.
func TestGaps(t *testing.T) {
	m := newDisk(t)
	if err := Write(m, dir, "f", testKind, []byte("x"), []Section{Bytes(1, []byte("y")), Bytes(2, []byte("z"))}); err != nil {
		t.Fatal(err)
	}
	f, err := m.Open(dir+"/f", disk.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(m, dir, "f", testKind)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{21, 23, 25, 31, 33, 39} {
		if err := c.Verify(); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{4}, at); err != nil {
			t.Fatal(err)
		}
		if err := c.Verify(); !fault.Is(err, fault.Corrupt) {
			t.Fatalf("byte %d: %v", at, err)
		}
		if _, err := f.WriteAt([]byte{0}, at); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPowerLoss cuts the power at every call of a write that replaces a file:
// the name holds the old file or the new one, and the new one if Write returned.
func TestPowerLoss(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := newDisk(t)
		if err := Write(m, dir, "f", testKind, []byte("old"), nil); err != nil {
			t.Fatal(err)
		}
		var after *disk.Memory
		calls, at := 0, rng.IntN(14)
		m.Hook(func(disk.Call) error {
			if calls == at {
				after = m.Crash(rng)
			}
			calls++
			return nil
		})
		write(t, m, "f")
		m.Hook(nil)
		if after == nil {
			after = m.Crash(rng)
			if err := check(after, "f"); err != nil {
				t.Fatalf("seed %d: after Write: %v", seed, err)
			}
			continue
		}
		f, err := Open(after, dir, "f", testKind)
		if err != nil {
			t.Fatalf("seed %d, call %d: %v", seed, at, err)
		}
		if string(f.Head()) == "old" {
			continue
		}
		if err := check(after, "f"); err != nil {
			t.Fatalf("seed %d, call %d: %v", seed, at, err)
		}
	}
}

// TestPowerLossNoticesLies proves that TestPowerLoss can fail: on a disk whose
// syncs do nothing, a file that Write reported is not there after some crash.
func TestPowerLossNoticesLies(t *testing.T) {
	lost := 0
	for seed := range uint64(50) {
		m := newDisk(t)
		m.Lie()
		write(t, m, "f")
		if check(m.Crash(rand.New(rand.NewPCG(seed, 2))), "f") != nil {
			lost++
		}
	}
	if lost == 0 {
		t.Fatal("a lying disk lost nothing")
	}
}

func TestDiskFull(t *testing.T) {
	m := newDisk(t)
	write(t, m, "f")
	m.Limit(8192)
	err := Write(m, dir, "f", testKind, []byte("head"), []Section{Bytes(1, make([]byte, 64<<10))})
	if !fault.Is(err, fault.DiskFull) {
		t.Fatalf("full disk: %v", err)
	}
	if names, _ := m.List(dir); len(names) != 1 {
		t.Fatalf("files %v", names)
	}
	if err := check(m, "f"); err != nil {
		t.Fatal(err)
	}
}

func TestErrorsOfEveryCall(t *testing.T) {
	for _, op := range []disk.Op{disk.OpOpen, disk.OpTruncate, disk.OpWrite, disk.OpSync, disk.OpRename, disk.OpSyncDir} {
		m := newDisk(t)
		m.Hook(disk.FailNth(op, m.Calls(op)+1, syscall.EIO))
		if err := Write(m, dir, "f", testKind, nil, parts()); !errors.Is(err, syscall.EIO) {
			t.Errorf("op %d: %v", op, err)
		}
	}
	m := newDisk(t)
	write(t, m, "f")
	m.Hook(disk.FailNth(disk.OpRead, 1, syscall.EIO))
	if err := check(m, "f"); !errors.Is(err, syscall.EIO) || fault.Is(err, fault.Corrupt) {
		t.Errorf("unreadable is not damaged: %v", err)
	}
}

// TestCloseWaits closes a file under readers: each read is whole or NotFound.
func TestCloseWaits(t *testing.T) {
	m := newDisk(t)
	write(t, m, "f")
	f, err := Open(m, dir, "f", testKind)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Section(7)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	started := make(chan struct{}, 4)
	for range 4 {
		wg.Go(func() {
			started <- struct{}{}
			b := make([]byte, 24)
			for {
				if _, err := r.ReadAt(b, 0); err != nil {
					if !fault.Is(err, fault.NotFound) {
						t.Error(err)
					}
					return
				}
				if string(b) != contents[7] {
					t.Errorf("%q", b)
				}
			}
		})
	}
	for range 4 {
		<-started
	}
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}

// TestGolden reads the file that the first version wrote, and writes it again.
func TestGolden(t *testing.T) {
	path := filepath.Join("testdata", "v1.bin")
	m := newDisk(t)
	write(t, m, "f")
	got, err := disk.ReadFile(m, dir+"/f")
	if err != nil {
		t.Fatal(err)
	}
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
		t.Fatalf("the format changed:\n%x\n%x", got, want)
	}
	if err := disk.Replace(m, dir+"/g", want); err != nil {
		t.Fatal(err)
	}
	if err := check(m, "g"); err != nil {
		t.Fatal(err)
	}
}

func FuzzOpen(f *testing.F) {
	m := newDisk(f)
	write(f, m, "f")
	whole, err := disk.ReadFile(m, dir+"/f")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:50])
	f.Fuzz(func(t *testing.T, b []byte) {
		m := newDisk(t)
		if err := disk.Replace(m, dir+"/f", b); err != nil {
			t.Fatal(err)
		}
		c, err := Open(m, dir, "f", testKind)
		if err != nil {
			return
		}
		sound := c.Verify() == nil
		for _, p := range c.sections {
			r, err := c.Section(p.kind)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || sound && len(got) > len(b) {
				t.Fatalf("section %d: %d bytes, %v", p.kind, len(got), err)
			}
		}
	})
}
