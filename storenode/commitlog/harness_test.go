// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const testDir = "/shard"

// testOptions are those of a small log on m.
func testOptions(m *disk.Memory) Options {
	return Options{
		FS: m, Dir: testDir, ClusterHash: 0xC1, Shard: 7,
		SegmentBytes: SegmentBytesMin, PrepareBytes: SegmentBytesMin / 2, RingBytes: 16 << 10,
		FreeBytes: func() (int64, int64, error) { return m.Free(testDir) },
	}
}

func ignore(*record.Entry) error { return nil }

// writer appends entries to a log as a sequencer does.
type writer struct {
	l      *Log
	term   ident.Term
	timeMS int64
	commit ident.LSN // what the entries say was committed
}

// entry makes the next entry behind e, or at the log's end.
func (w *writer) entry(typ record.Type, body []byte, prev record.Header) record.Entry {
	return record.Entry{
		Header: record.Header{
			PrevCRC: prev.CRC, Type: typ, Version: record.Version, LSN: prev.End(), Term: w.term, TimeMS: w.timeMS,
			CommitBack: record.CommitBack(prev.End(), w.commit),
		},
		Body: body,
	}
}

// tip is a header that the log's end follows.
func (w *writer) tip() record.Header {
	return record.Header{CRC: w.l.Tail().CRC, LSN: w.l.End()}
}

// block encodes entries with the given bodies, behind the log's end.
func (w *writer) block(typ record.Type, bodies ...[]byte) ([]byte, []record.Entry) {
	var b []byte
	var entries []record.Entry
	prev := w.tip()
	for _, body := range bodies {
		e := w.entry(typ, body, prev)
		b = e.Append(b)
		entries = append(entries, e)
		prev = e.Header
	}
	return b, entries
}

func (w *writer) append(use Use, typ record.Type, bodies ...[]byte) ([]record.Entry, error) {
	b, entries := w.block(typ, bodies...)
	return entries, w.l.AppendAs(use, b, entries[len(entries)-1].Header)
}

// must appends, sealing first when the segment is full.
func (w *writer) must(t testing.TB, typ record.Type, bodies ...[]byte) []record.Entry {
	t.Helper()
	b, _ := w.block(typ, bodies...)
	if w.l.Room() < int64(len(b)) {
		_, err := w.append(UseVital, record.TypeSeal, nil)
		must(t, err)
		prepare(t, w.l)
	}
	entries, err := w.append(UseClient, typ, bodies...)
	must(t, err)
	return entries
}

// prepare does all background work that there is.
func prepare(t testing.TB, l *Log) {
	t.Helper()
	for {
		more, err := l.step()
		must(t, err)
		if !more {
			return
		}
	}
}

// open opens and recovers the log; both must succeed.
func open(t testing.TB, o Options, ro RecoverOptions) (*Log, Recovery) {
	t.Helper()
	l, err := Open(o)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	r, err := l.Recover(t.Context(), ro, ignore)
	must(t, err)
	return l, r
}

func newWriter(l *Log, r Recovery) *writer {
	return &writer{l: l, term: r.LastTerm + 1, timeMS: max(1000, r.LastTimeMS), commit: FirstLSN}
}

// body is n bytes that name themselves.
func body(n int, name string) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = name[i%len(name)]
	}
	return b
}

func sameEntry(got, want *record.Entry) error {
	if got.Header != want.Header || !bytes.Equal(got.Body, want.Body) {
		return fmt.Errorf("entry at LSN %d: got %+v with %d bytes, want %+v with %d bytes",
			want.LSN, got.Header, len(got.Body), want.Header, len(want.Body))
	}
	return nil
}

func corruption(err error) *CorruptionError {
	c, _ := errors.AsType[*CorruptionError](err)
	return c
}
