// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

func wantKind(t *testing.T, err error, kind fault.Kind, words string) {
	t.Helper()
	if !fault.Is(err, kind) || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v: %v, want %v with %q", fault.KindOf(err), err, kind, words)
	}
}

func firstFile(t *testing.T, m *disk.Memory) disk.File {
	t.Helper()
	f, err := m.Open(segmentName(testDir, FirstLSN), disk.ReadWrite)
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	return f
}

func TestOpenRefuses(t *testing.T) {
	m := disk.NewMemory()
	open(t, testOptions(m), RecoverOptions{})

	o := testOptions(m)
	o.ClusterHash++
	_, err := Open(o)
	wantKind(t, err, fault.Incompatible, "belongs to cluster 00000000000000c1 shard 7, this is cluster 00000000000000c2")

	o = testOptions(m)
	o.Shard++
	_, err = Open(o)
	wantKind(t, err, fault.Incompatible, "this is cluster 00000000000000c1 shard 8")

	o = testOptions(m)
	o.SegmentBytes = 1000
	_, err = Open(o)
	wantKind(t, err, fault.Invalid, "segment size")
	o.FS = nil
	_, err = Open(o)
	wantKind(t, err, fault.Invalid, "no folder")

	m.Hook(disk.FailNth(disk.OpOpen, 1, syscall.EROFS))
	_, err = Open(testOptions(m))
	if !errors.Is(err, syscall.EROFS) {
		t.Errorf("read-only disk: %v", err)
	}
	m.Hook(nil)

	f := firstFile(t, m)
	b := make([]byte, HeaderBytes)
	_, err = f.ReadAt(b, 0)
	must(t, err)
	b[offFormat] = FormatVersion + 1
	binary.LittleEndian.PutUint32(b[offCRC:], crc32.Checksum(b[:offCRC], castagnoli))
	_, err = f.WriteAt(b, 0)
	must(t, err)
	_, err = Open(testOptions(m))
	wantKind(t, err, fault.Incompatible, "newer format 2")
}

func TestOpenOnAFullDisk(t *testing.T) {
	m := disk.NewMemory()
	m.Limit(4096)
	_, err := Open(testOptions(m))
	wantKind(t, err, fault.DiskFull, "no space")
}

func TestNotRecoveredNotUsable(t *testing.T) {
	l, err := Open(testOptions(disk.NewMemory()))
	must(t, err)
	defer l.Close()
	for _, err := range []error{l.Sync(), l.Trim(8), l.AppendAs(UseVital, nil, record.Header{})} {
		wantKind(t, err, fault.Invalid, "not recovered")
	}
}

func TestReads(t *testing.T) {
	for name, ring := range map[string]int64{"without a ring": 0, "with a ring": 32 << 10} {
		t.Run(name, func(t *testing.T) {
			m := disk.NewMemory()
			o := testOptions(m)
			o.RingBytes = ring
			l, r := open(t, o, RecoverOptions{})
			w := newWriter(l, r)
			var entries []record.Entry
			for i := range 40 {
				prepare(t, l)
				for _, n := range []int{0, 1, 7, 8, 300, pointRead - record.HeaderSize, pointRead, 30000}[i%8 : i%8+1] {
					entries = append(entries, w.must(t, record.TypeMessage, body(n, "entry "))...)
				}
			}
			buf := make([]byte, 0, 8192)
			for i := range entries {
				got, used, err := l.Read(entries[i].LSN, buf)
				must(t, err)
				must(t, sameEntry(&got, &entries[i]))
				if len(entries[i].Body) < 8000 && &used[0] != &buf[:1][0] {
					t.Errorf("entry of %d bytes: another buffer although ours is large enough", entries[i].Len)
				}
			}
			_, _, err := l.Read(0, nil)
			wantKind(t, err, fault.NotFound, "not in")
			_, _, err = l.Read(l.End(), nil)
			wantKind(t, err, fault.NotFound, "not in")
			_, _, err = l.Read(entries[5].LSN+8, nil)
			wantKind(t, err, fault.Corrupt, "damaged entry")
			_, _, err = l.Read(l.End()-8, nil)
			wantKind(t, err, fault.Corrupt, "damaged entry")
		})
	}
}

// The newest entries come from memory: their disk is not asked, and need not
// even be sound.
func TestTailReadsDoNotTouchTheDisk(t *testing.T) {
	m := disk.NewMemory()
	l, r := open(t, testOptions(m), RecoverOptions{})
	w := newWriter(l, r)
	prepare(t, l)
	var entries []record.Entry
	for range 30 {
		entries = append(entries, w.must(t, record.TypeMessage, body(1000, "x"))...)
	}
	before := m.Calls(disk.OpRead)
	newest := &entries[len(entries)-1]
	got, _, err := l.Read(newest.LSN, nil)
	must(t, err)
	must(t, sameEntry(&got, newest))
	if n := m.Calls(disk.OpRead) - before; n != 0 {
		t.Errorf("%d reads of the disk", n)
	}
	if _, _, err := l.Read(entries[0].LSN, nil); err != nil || m.Calls(disk.OpRead) == before {
		t.Errorf("an old entry did not come from the disk: %v", err)
	}
}

func TestReadOfDamage(t *testing.T) {
	m := disk.NewMemory()
	o := testOptions(m)
	o.RingBytes = 0
	l, r := open(t, o, RecoverOptions{})
	w := newWriter(l, r)
	prepare(t, l)
	e := w.must(t, record.TypeMessage, body(101, "x"))[0] // 149 bytes, 3 of padding
	w.must(t, record.TypeMessage, body(50, "y"))
	f := firstFile(t, m)
	for at, words := range map[int64]string{0: "length", 60: "CRC", int64(e.Len): "padding"} {
		var b [4]byte
		_, err := f.ReadAt(b[:], HeaderBytes+at)
		must(t, err)
		_, err = f.WriteAt([]byte{^b[0], ^b[1], ^b[2]}, HeaderBytes+at)
		must(t, err)
		_, _, err = l.Read(FirstLSN, nil)
		wantKind(t, err, fault.Corrupt, words)
		err = l.Scan(t.Context(), FirstLSN, 0, ignore)
		wantKind(t, err, fault.Corrupt, words)
		if c := corruption(err); c == nil || c.LSN != FirstLSN {
			t.Errorf("scan: %v", err)
		}
		_, err = f.WriteAt(b[:3], HeaderBytes+at)
		must(t, err)
	}
	m.Hook(disk.FailNth(disk.OpRead, 1, syscall.EIO))
	_, _, err := l.Read(FirstLSN, nil)
	wantKind(t, err, fault.Corrupt, "input/output error")
}

// What cannot be read is not taken for the end.
func TestUnreadableIsNotTorn(t *testing.T) {
	m := disk.NewMemory()
	l, r := open(t, testOptions(m), RecoverOptions{})
	w := newWriter(l, r)
	prepare(t, l)
	w.must(t, record.TypeMessage, body(100, "x"))
	must(t, l.Sync())
	m.Hook(func(c disk.Call) error {
		if c.Op == disk.OpRead && c.Off == HeaderBytes {
			return syscall.EIO
		}
		return nil
	})
	l, err := Open(testOptions(m))
	must(t, err)
	defer l.Close()
	_, err = l.Recover(t.Context(), RecoverOptions{}, ignore)
	wantKind(t, err, fault.Corrupt, "unreadable")
}

func TestScan(t *testing.T) {
	m := disk.NewMemory()
	l, r := open(t, testOptions(m), RecoverOptions{})
	w := newWriter(l, r)
	var entries []record.Entry
	for range 200 {
		prepare(t, l)
		entries = append(entries, w.must(t, record.TypeMessage, body(1000, "x"))...)
	}
	if n := len(l.Segments()); n < 3 {
		t.Fatalf("only %d segments", n)
	}
	var got []ident.LSN
	must(t, l.Scan(t.Context(), entries[50].LSN, entries[150].LSN, func(e *record.Entry) error {
		if e.Type == record.TypeMessage {
			got = append(got, e.LSN)
		}
		return nil
	}))
	var want []ident.LSN
	for _, e := range entries[50:150] {
		want = append(want, e.LSN)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	stop := errors.New("stop")
	if err := l.Scan(t.Context(), entries[0].LSN, 0, func(*record.Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the visitor's error became %v", err)
	}
	wantKind(t, l.Scan(t.Context(), 0, 0, ignore), fault.NotFound, "not in")
	wantKind(t, l.Scan(t.Context(), 8, l.End()+8, ignore), fault.NotFound, "not in")
}

// The header of a segment repeats the newest terms in force.
func TestTerms(t *testing.T) {
	m := disk.NewMemory()
	l, r := open(t, testOptions(m), RecoverOptions{})
	w := newWriter(l, r)
	var want []TermStart
	for term := ident.Term(1); term <= 200; term++ {
		w.term = term
		prepare(t, l)
		want = append(want, TermStart{term, l.End()})
		w.must(t, record.TypeTermStart, []byte("start"), []byte("more"))
	}
	want = want[200-termsMax:]
	if diff := cmp.Diff(want, l.Tail().Terms); diff != "" {
		t.Error(diff)
	}
	_, err := w.append(UseVital, record.TypeSeal, nil)
	must(t, err)
	prepare(t, l)
	w.must(t, record.TypeMessage, body(10, "x"))
	must(t, l.Sync())
	l, err = Open(testOptions(m))
	must(t, err)
	defer l.Close()
	list := *l.segs.Load()
	if diff := cmp.Diff(want, list[len(list)-1].tail.Terms); diff != "" {
		t.Error(diff)
	}
	base := list[len(list)-1].base
	_, err = l.Recover(t.Context(), RecoverOptions{From: base}, ignore)
	must(t, err)
	if diff := cmp.Diff(want, l.Tail().Terms); diff != "" {
		t.Error(diff)
	}
}

// A block of several terms, as a follower appends it.
func TestTermsInsideABlock(t *testing.T) {
	m := disk.NewMemory()
	l, r := open(t, testOptions(m), RecoverOptions{})
	w := newWriter(l, r)
	prepare(t, l)
	var b []byte
	prev := w.tip()
	var want []TermStart
	for _, term := range []ident.Term{1, 1, 3, 3, 9} {
		w.term = term
		e := w.entry(record.TypeMessage, body(int(term)*10, "t"), prev)
		b = e.Append(b)
		prev = e.Header
		if n := len(want); n == 0 || want[n-1].Term != term {
			want = append(want, TermStart{term, e.LSN})
		}
	}
	must(t, l.Append(b, prev))
	if diff := cmp.Diff(want, l.Tail().Terms); diff != "" {
		t.Error(diff)
	}
}

func TestAppendAssertsTheChain(t *testing.T) {
	l, r := open(t, testOptions(disk.NewMemory()), RecoverOptions{})
	w := newWriter(l, r)
	prepare(t, l)
	w.term = 5
	w.must(t, record.TypeMessage, body(10, "x"))
	for name, spoil := range map[string]func(e *record.Entry){
		"hole":       func(e *record.Entry) { e.LSN += 8 },
		"chain":      func(e *record.Entry) { e.PrevCRC++ },
		"older term": func(e *record.Entry) { e.Term-- },
		"older time": func(e *record.Entry) { e.TimeMS-- },
	} {
		e := w.entry(record.TypeMessage, body(10, "y"), w.tip())
		spoil(&e)
		b := e.Append(nil)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: appended", name)
				}
			}()
			must(t, l.Append(b, e.Header))
		}()
	}
	w.must(t, record.TypeMessage, body(10, "z"))
}

// What continues the chain must also be of no older term and time.
func TestRecoverRefusesWhatGoesBack(t *testing.T) {
	for name, spoil := range map[string]func(h *record.Header){
		"nothing":    func(*record.Header) {},
		"older term": func(h *record.Header) { h.Term-- },
		"older time": func(h *record.Header) { h.TimeMS-- },
	} {
		m := disk.NewMemory()
		l, r := open(t, testOptions(m), RecoverOptions{})
		w := newWriter(l, r)
		w.term = 5
		prepare(t, l)
		w.must(t, record.TypeMessage, body(10, "x"))
		e := w.entry(record.TypeMessage, body(10, "y"), w.tip())
		spoil(&e.Header)
		b := e.Append(nil)
		_, err := firstFile(t, m).WriteAt(b, HeaderBytes+int64(e.LSN-FirstLSN))
		must(t, err)
		_, r = open(t, testOptions(m), RecoverOptions{})
		if whole := r.End == e.End(); whole != (name == "nothing") {
			t.Errorf("%s: recovered %+v", name, r)
		}
	}
}

func TestSegmentNames(t *testing.T) {
	for name, want := range map[string]ident.LSN{
		"00000000000000000008.log": 8, "00000000000268435464.log": 268435464, "18446744073709551608.log": 1<<64 - 8,
		"8.log": 0, "00000000000000000008.idx": 0, "0000000000000000000x.log": 0, "00000001.free": 0, "99999999999999999999.log": 0,
	} {
		if got, ok := parseSegmentName(name); ok != (want != 0) || ok && got != want {
			t.Errorf("%s: %d, %v", name, got, ok)
		}
		if want != 0 && filepath.Base(segmentName("d", want)) != name {
			t.Errorf("%d is named %s", want, segmentName("d", want))
		}
	}
}

// FuzzHeader: whatever the bytes, a header is refused or is what encode writes.
func FuzzHeader(f *testing.F) {
	h := header{cluster: 1, shard: 2, base: 8, capacity: 1 << 20}
	f.Add(h.encode(), true)
	h = header{
		cluster: 1 << 63, shard: 1<<32 - 1, base: 1 << 40, capacity: 256 << 20, spare: true,
		tail: Tail{CRC: 9, Term: 8, TimeMS: -7, Terms: []TermStart{{7, 8}, {8, 1 << 30}}},
	}
	f.Add(h.encode(), false)
	f.Add([]byte("MANSIOLG"), true)
	f.Fuzz(func(t *testing.T, b []byte, right bool) {
		if right && len(b) >= HeaderBytes {
			binary.LittleEndian.PutUint32(b[offCRC:], crc32.Checksum(b[:offCRC], castagnoli))
		}
		h, err := decodeHeader(b)
		if err != nil {
			return
		}
		again, err := decodeHeader(h.encode())
		must(t, err)
		if diff := cmp.Diff(h, again, cmp.AllowUnexported(header{})); diff != "" {
			t.Fatal(diff)
		}
		if !bytes.Equal(h.encode()[:offCRC], b[:offCRC]) {
			t.Fatalf("decoded\n%x, encodes as\n%x", b[:HeaderBytes], h.encode())
		}
	})
}
