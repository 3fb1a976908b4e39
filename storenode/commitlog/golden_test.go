// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

// The golden log: every type that is written today, with the golden bodies of
// package record, over two segments and two terms.
var goldenEntries = []struct {
	typ  record.Type
	body string
}{
	{record.TypeTermStart, "term-start-first"},
	{record.TypeConfig, "config-topic"},
	{record.TypeMessage, "message"},
	{record.TypePopGrant, "pop-grant"},
	{record.TypeSettle, "settle"},
	{record.TypeRenew, "renew"},
	{record.TypeDeadLetter, "dead-letter"},
	{record.TypeSeal, "seal"},
	{record.TypeTermStart, "term-start"},
	{record.TypeConfig, "config-deleted"},
	{record.TypeTimeShift, "time-shift"},
	{record.TypePopGrant, "pop-grant-fifo"},
	{record.TypeOffsetCommit, "offset-commit"},
	{record.TypeGroupReset, "group-reset"},
	{record.TypeSkipEntry, "skip-entry"},
	{record.TypeTrim, "trim"},
}

func goldenBody(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "record", "testdata", "v1", name+".hex"))
	must(t, err)
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	must(t, err)
	return b
}

// writeGolden writes the golden log to m as this build writes logs, and returns
// its entries.
func writeGolden(t *testing.T, m *disk.Memory) []record.Entry {
	t.Helper()
	l, r := open(t, testOptions(m), RecoverOptions{})
	w := newWriter(l, r)
	var entries []record.Entry
	for i, g := range goldenEntries {
		if g.typ == record.TypeTermStart && i > 0 {
			w.term = 1 << 33
		}
		w.timeMS = 1_790_000_000_000 + int64(i)*1000
		prepare(t, l)
		added, err := w.append(UseVital, g.typ, goldenBody(t, g.body))
		must(t, err)
		entries = append(entries, added...)
		if i%3 == 0 {
			w.commit = l.End()
		}
	}
	must(t, l.Sync())
	return entries
}

// goldenFiles are the golden segments, each cut where its entries end.
func goldenFiles(t *testing.T) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "v1", "*.log"))
	must(t, err)
	files := map[string][]byte{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		must(t, err)
		files[filepath.Base(p)] = b
	}
	return files
}

func loadGolden(t *testing.T) *disk.Memory {
	t.Helper()
	m := disk.NewMemory()
	must(t, m.MkdirAll(testDir))
	for name, b := range goldenFiles(t) {
		must(t, disk.Replace(m, filepath.Join(testDir, name), b))
	}
	return m
}

// Logs of format 1 are read for ever, and what is written today is byte for byte
// what was written then. MANSIO_GOLDEN=new writes files that do not exist.
func TestGoldenLog(t *testing.T) {
	m := disk.NewMemory()
	want := writeGolden(t, m)
	names, err := m.List(testDir)
	must(t, err)
	golden := goldenFiles(t)
	for _, name := range names {
		base, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		b, err := disk.ReadFile(m, filepath.Join(testDir, name))
		must(t, err)
		end := want[len(want)-1].End()
		if base == FirstLSN {
			end = want[8].LSN
		}
		b = b[:HeaderBytes+int(end-base)]
		if golden[name] == nil && os.Getenv("MANSIO_GOLDEN") == "new" {
			must(t, os.WriteFile(filepath.Join("testdata", "v1", name), b, 0o644))
			continue
		}
		if !bytes.Equal(b, golden[name]) {
			t.Errorf("%s is written differently now", name)
		}
		delete(golden, name)
	}
	for name := range golden {
		t.Errorf("%s is not written any more", name)
	}

	l, err := Open(testOptions(loadGolden(t)))
	must(t, err)
	defer l.Close()
	i := 0
	r, err := l.Recover(t.Context(), RecoverOptions{Clean: true, Floor: want[len(want)-1].End()}, func(e *record.Entry) error {
		i++
		return sameEntry(e, &want[i-1])
	})
	must(t, err)
	if i != len(want) || r.Torn || r.LastTerm != 1<<33 {
		t.Errorf("%d entries of %d, %+v", i, len(want), r)
	}
	terms := l.Tail().Terms
	if len(terms) != 2 || terms[0] != (TermStart{1, FirstLSN}) || terms[1] != (TermStart{1 << 33, want[8].LSN}) {
		t.Errorf("terms %v", terms)
	}
}

// Every bit of headers, entries and padding is guarded: with one flipped, the
// log is corrupt at the entry that it belongs to, or at the base of the segment.
// The bytes behind a Seal and behind the end are not: they mean nothing.
func TestEveryBitOfTheGoldenLogCounts(t *testing.T) {
	m := loadGolden(t)
	var entries []record.Entry
	l, r := open(t, testOptions(m), RecoverOptions{})
	must(t, l.Scan(t.Context(), r.Start, 0, func(e *record.Entry) error {
		entries = append(entries, record.Entry{Header: e.Header})
		return nil
	}))
	end := r.End
	for name, golden := range goldenFiles(t) {
		base, _ := parseSegmentName(name)
		f, err := m.Open(filepath.Join(testDir, name), disk.ReadWrite)
		must(t, err)
		for i := 0; i < 8*len(golden); i += thin {
			at, bit := i/8, i%8
			want := base
			if at >= HeaderBytes {
				want = standsAt(entries, base+ident.LSN(at-HeaderBytes))
			}
			_, err := f.WriteAt([]byte{golden[at] ^ 1<<bit}, int64(at))
			must(t, err)
			if c := corruption(recoverOnce(t, m, end)); c == nil || c.LSN != want {
				t.Fatalf("bit %d of byte %d of %s: %v, want corruption at LSN %d", bit, at, name, c, want)
			}
			_, err = f.WriteAt(golden[at:at+1], int64(at))
			must(t, err)
		}
		_, err = f.WriteAt([]byte{0xFF, 0xFF, 0xFF}, int64(len(golden)))
		must(t, err)
		if err := recoverOnce(t, m, end); err != nil {
			t.Errorf("bytes behind the entries of %s: %v", name, err)
		}
		must(t, f.Close())
	}
}

// standsAt is the LSN of the entry that the byte belongs to.
func standsAt(entries []record.Entry, lsn ident.LSN) (at ident.LSN) {
	for i := range entries {
		if entries[i].LSN <= lsn {
			at = entries[i].LSN
		}
	}
	return at
}

func recoverOnce(t *testing.T, m *disk.Memory, floor ident.LSN) error {
	t.Helper()
	o := testOptions(m)
	o.RingBytes = 0
	l, err := Open(o)
	if err != nil {
		return err
	}
	defer l.Close()
	_, err = l.Recover(t.Context(), RecoverOptions{Floor: floor}, ignore)
	return err
}
