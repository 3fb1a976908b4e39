// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
)

var rewrite = flag.Bool("rewrite", false, "write golden files")

const dir = "/s"

// text is a view whose state is a text.
type text string

func (v *text) Checkpoint(w io.Writer) error {
	_, err := io.WriteString(w, string(*v))
	return err
}

func (v *text) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil && string(b) == "bad" {
		return errors.New("bad state")
	}
	*v = text(b)
	return err
}

func (v *text) Digest() uint64 { return ident.Hash64(string(*v)) }

func newDisk(t *testing.T) *disk.Memory {
	t.Helper()
	m := disk.NewMemory()
	if err := m.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	return m
}

func meta(lsn ident.LSN) Meta {
	return Meta{Cluster: 0xc1, Shard: 5, LSN: lsn, LastCRC: 0xabcdef01, Term: 3, TimeMS: -7}
}

func write(t *testing.T, fs disk.FS, lsn ident.LSN, state text) {
	t.Helper()
	s, err := Capture(SectionQueue, &state)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteCheckpoint(fs, dir, meta(lsn), []Section{s, {SectionShard, nil}}); err != nil {
		t.Fatal(err)
	}
}

const noLimit = ident.LSN(1 << 63)

// newest describes the newest checkpoint in a line.
func newest(fs disk.FS, limit ident.LSN) string {
	c, err := NewestCheckpoint(fs, dir, 0xc1, 5, limit)
	if err != nil {
		return fault.KindOf(err).String()
	}
	var v text
	err = errors.Join(c.Restore(SectionQueue, &v), c.Close())
	if d := cmp.Diff(meta(c.LSN), c.Meta); d != "" {
		return d
	}
	return fmt.Sprintf("%d %s skipped %d %v", c.LSN, v, len(c.Skipped), err)
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestNewest(t *testing.T) {
	m := newDisk(t)
	want(t, newest(m, noLimit), "not found")
	write(t, m, 8, "a")
	want(t, newest(m, noLimit), "8 a skipped 0 <nil>")
	write(t, m, 4096, "b")
	write(t, m, 1<<40, "c")
	want(t, newest(m, noLimit), "1099511627776 c skipped 0 <nil>")
	want(t, newest(m, 1<<40-1), "4096 b skipped 0 <nil>")
	all, err := Checkpoints(m, dir)
	if err != nil || !cmp.Equal(all, []ident.LSN{4096, 1 << 40}) {
		t.Fatalf("kept %v, %v", all, err)
	}
	// One below newer ones, of a log that was cut, is not pruned by itself.
	write(t, m, 512, "d")
	want(t, newest(m, 1000), "512 d skipped 0 <nil>")
	if err := RemoveCheckpoint(m, dir, 1<<40); err != nil {
		t.Fatal(err)
	}
	want(t, newest(m, noLimit), "4096 b skipped 0 <nil>")
}

func damage(t *testing.T, m *disk.Memory, lsn ident.LSN) {
	t.Helper()
	name := dir + "/" + checkpointName(lsn)
	b, err := disk.ReadFile(m, name)
	if err != nil {
		t.Fatal(err)
	}
	b[64] ^= 1 // in the first section
	if err := disk.Replace(m, name, b); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedFallsBack(t *testing.T) {
	m := newDisk(t)
	write(t, m, 8, "a")
	write(t, m, 16, "b")
	damage(t, m, 16)
	want(t, newest(m, noLimit), "8 a skipped 1 <nil>")
	damage(t, m, 8)
	want(t, newest(m, noLimit), "corrupt")
	if all, err := Checkpoints(m, dir); err != nil || len(all) != 2 {
		t.Fatalf("damaged checkpoints were touched: %v %v", all, err)
	}
}

func TestForeignUnreadableRefused(t *testing.T) {
	m := newDisk(t)
	write(t, m, 8, "a")
	for _, id := range []struct {
		cluster uint64
		shard   ident.Shard
	}{{0xc2, 5}, {0xc1, 6}} {
		if _, err := NewestCheckpoint(m, dir, id.cluster, id.shard, noLimit); !fault.Is(err, fault.Incompatible) {
			t.Fatalf("foreign checkpoint: %v", err)
		}
	}
	m.Hook(disk.FailNth(disk.OpRead, 1, syscall.EIO))
	if _, err := NewestCheckpoint(m, dir, 0xc1, 5, noLimit); !errors.Is(err, syscall.EIO) ||
		fault.Is(err, fault.NotFound) || fault.Is(err, fault.Corrupt) {
		t.Fatalf("unreadable checkpoint: %v", err)
	}
}

func TestRestoreErrors(t *testing.T) {
	m := newDisk(t)
	write(t, m, 8, "bad")
	c, err := NewestCheckpoint(m, dir, 0xc1, 5, noLimit)
	if err != nil {
		t.Fatal(err)
	}
	var v text
	if err := c.Restore(SectionQueue, &v); !fault.Is(err, fault.Corrupt) {
		t.Fatalf("state that the view refuses: %v", err)
	}
	if err := c.Restore(SectionDelivery, &v); !fault.Is(err, fault.NotFound) {
		t.Fatalf("section that is not there: %v", err)
	}
}

// TestPowerLoss cuts the power at every call while the third checkpoint is
// written: some checkpoint is always there, and the newest reported one at least.
func TestPowerLoss(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		m := newDisk(t)
		write(t, m, 8, "a")
		write(t, m, 16, "b")
		var after *disk.Memory
		calls, at := 0, rng.IntN(24)
		m.Hook(func(disk.Call) error {
			if calls == at {
				after = m.Crash(rng)
			}
			calls++
			return nil
		})
		write(t, m, 24, "c")
		done := after == nil
		if done {
			m.Hook(nil)
			after = m.Crash(rng)
		}
		got := newest(after, noLimit)
		if got != "24 c skipped 0 <nil>" && (done || got != "16 b skipped 0 <nil>") {
			t.Fatalf("seed %d, call %d: %q", seed, at, got)
		}
		write(t, after, 32, "d") // and what the crash left is in nobody's way
		if names, err := after.List(dir); err != nil || len(names) != CheckpointsKept {
			t.Fatalf("seed %d: files %v, %v", seed, names, err)
		}
	}
}

func TestGolden(t *testing.T) {
	m := newDisk(t)
	write(t, m, 4096, "state of the queue view")
	got, err := disk.ReadFile(m, dir+"/ckpt-00000000000000004096")
	if err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		if err := os.WriteFile("testdata/ckpt.v1.bin", got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile("testdata/ckpt.v1.bin")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, golden) {
		t.Fatalf("the format changed:\n%s", hex.Dump(got))
	}
	if err := disk.Replace(m, dir+"/ckpt-00000000000000004096", golden); err != nil {
		t.Fatal(err)
	}
	want(t, newest(m, noLimit), "4096 state of the queue view skipped 0 <nil>")
}
