// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"bytes"
	"encoding/binary"
	"flag"
	"hash/crc32"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/storenode/disk"
)

var update = flag.Bool("update", false, "write the golden file anew")

// TestGoldenMeta holds format 1 to a slot file that is kept for ever.
func TestGoldenMeta(t *testing.T) {
	const golden = "testdata/meta.v1.bin"
	m := sample()
	slot := make([]byte, slotBytes)
	copy(slot, m.encode(9))
	if *update {
		if err := os.WriteFile(golden, slot, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(slot, want) {
		t.Error("a slot is written otherwise than the golden one")
	}
	fs := disk.NewMemory()
	if err := fs.MkdirAll("r"); err != nil {
		t.Fatal(err)
	}
	if err := disk.Replace(fs, "r/meta.b", want); err != nil {
		t.Fatal(err)
	}
	got, f, err := LoadMeta(fs, "r")
	if err != nil || f.sequence != 9 {
		t.Fatal(f, err)
	}
	if d := cmp.Diff(m, got); d != "" {
		t.Errorf("the golden slot is read otherwise: %s", d)
	}
}

// TestReservedFlags: a flag that a later build may have written is not passed over.
func TestReservedFlags(t *testing.T) {
	m := sample()
	b := m.encode(9)
	b[11] |= 0x80
	binary.LittleEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], castagnoli))
	if _, _, err := decodeMeta(b); !fault.Is(err, fault.Incompatible) {
		t.Fatalf("read a slot with unknown flags: %v", err)
	}
}
