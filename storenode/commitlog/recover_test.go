// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

// script runs one file of testdata/recover. Entries are named e1, e2, … in the
// order of appending; an LSN is written as a number, as the name of an entry, or
// as end. Commands that damage the disk close the log first, as a crash does.
type script struct {
	t       *testing.T
	m       *disk.Memory
	l       *Log
	w       *writer
	entries []record.Entry
	term    ident.Term
}

func TestRecoverScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/recover", func(t *testing.T, path string) {
		s := &script{t: t, m: disk.NewMemory(), term: 1}
		datadriven.RunTest(t, path, s.run)
		s.close()
	})
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	s.t = t
	switch d.Cmd {
	case "append", "seal":
		return s.append(d)
	case "sync":
		must(t, s.l.Sync())
	case "commit":
		s.w.commit = s.l.End()
	case "kill":
		s.close()
	case "segments":
		return s.segments()
	case "flip", "zero", "copy", "truncate", "remove":
		s.close()
		return s.damage(d)
	case "recover":
		return s.recover(d)
	case "accept-loss":
		note, err := s.l.AcceptLoss(t.Context(), s.lsn(d, "from"))
		if err != nil {
			return s.failure(err)
		}
		return fmt.Sprintf("note [%s, %s)", s.name(note.From), s.name(note.To))
	default:
		d.Fatalf(t, "unknown command %s", d.Cmd)
	}
	return ""
}

func (s *script) close() {
	if s.l != nil {
		must(s.t, s.l.Close())
		s.l = nil
	}
}

// lsn reads an argument that is an LSN.
func (s *script) lsn(d *datadriven.TestData, key string) ident.LSN {
	var text string
	d.ScanArgs(s.t, key, &text)
	return s.parse(d, text)
}

func (s *script) parse(d *datadriven.TestData, text string) ident.LSN {
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return ident.LSN(n)
	}
	if text == "end" {
		last := s.entries[len(s.entries)-1]
		return last.End()
	}
	i, err := strconv.Atoi(strings.TrimPrefix(text, "e"))
	if err != nil || i < 1 || i > len(s.entries) {
		d.Fatalf(s.t, "no such LSN: %s", text)
	}
	return s.entries[i-1].LSN
}

// name is the reverse of parse.
func (s *script) name(lsn ident.LSN) string {
	for i := range s.entries {
		if s.entries[i].LSN == lsn {
			return fmt.Sprintf("e%d", i+1)
		}
	}
	if n := len(s.entries); n > 0 && s.entries[n-1].End() == lsn {
		return "end"
	}
	return strconv.FormatUint(uint64(lsn), 10)
}

// append [n=1] [size=100]: appends a block of n messages. seal: seals.
func (s *script) append(d *datadriven.TestData) string {
	n, size, typ := 1, 100, record.TypeMessage
	d.MaybeScanArgs(s.t, "n", &n)
	d.MaybeScanArgs(s.t, "size", &size)
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i] = body(size, fmt.Sprintf("term %d entry %d ", s.w.term, len(s.entries)+i+1))
	}
	if d.Cmd == "seal" {
		typ, bodies = record.TypeSeal, [][]byte{nil}
	}
	if s.l.usable() == nil {
		prepare(s.t, s.l)
	}
	entries, err := s.w.append(UseVital, typ, bodies...)
	if err != nil {
		return s.failure(err)
	}
	first := len(s.entries) + 1
	s.entries = append(s.entries, entries...)
	return fmt.Sprintf("e%d…e%d [%d, %d)", first, len(s.entries), entries[0].LSN, s.l.End())
}

func (s *script) segments() string {
	var b strings.Builder
	for _, g := range s.l.Segments() {
		fmt.Fprintf(&b, "[%s, %s) sealed %v\n", s.name(g.Base), s.name(g.End), g.Sealed)
	}
	return b.String()
}

// file opens the segment that holds lsn, by the names of the files.
func (s *script) file(lsn ident.LSN) (disk.File, ident.LSN, string) {
	names, err := s.m.List(testDir)
	must(s.t, err)
	base, found := ident.LSN(0), ""
	for _, name := range names {
		if b, ok := parseSegmentName(name); ok && b <= lsn {
			base, found = b, filepath.Join(testDir, name)
		}
	}
	f, err := s.m.Open(found, disk.ReadWrite)
	must(s.t, err)
	return f, base, found
}

// damage changes the disk durably:
//
//	flip lsn=L at=N [bit=B]   a bit of the N-th byte behind L; header=L: of the header of the segment that holds L
//	zero lsn=L n=N            N bytes
//	copy lsn=L to=L n=N       N bytes to another place, as a misdirected write
//	truncate lsn=L            the file ends there
//	remove lsn=L              the segment that holds L
func (s *script) damage(d *datadriven.TestData) string {
	if d.HasArg("header") {
		f, _, _ := s.file(s.lsn(d, "header"))
		defer f.Close()
		return s.flip(d, f, 0)
	}
	lsn := s.lsn(d, "lsn")
	f, base, name := s.file(lsn)
	defer f.Close()
	off := HeaderBytes + int64(lsn-base)
	n := 0
	d.MaybeScanArgs(s.t, "n", &n)
	b := make([]byte, n)
	switch d.Cmd {
	case "flip":
		return s.flip(d, f, off)
	case "zero":
		_, err := f.WriteAt(b, off)
		must(s.t, err)
	case "copy":
		_, err := f.ReadAt(b, off)
		must(s.t, err)
		to, base, _ := s.file(s.lsn(d, "to"))
		_, err = to.WriteAt(b, HeaderBytes+int64(s.lsn(d, "to")-base))
		must(s.t, err)
		must(s.t, to.Sync())
		must(s.t, to.Close())
	case "truncate":
		must(s.t, f.Truncate(off))
	case "remove":
		must(s.t, s.m.Remove(name))
	}
	must(s.t, f.Sync())
	return ""
}

func (s *script) flip(d *datadriven.TestData, f disk.File, off int64) string {
	at, bit := int64(0), 0
	d.ScanArgs(s.t, "at", &at)
	d.MaybeScanArgs(s.t, "bit", &bit)
	var b [1]byte
	_, err := f.ReadAt(b[:], off+at)
	must(s.t, err)
	b[0] ^= 1 << bit
	_, err = f.WriteAt(b[:], off+at)
	must(s.t, err)
	must(s.t, f.Sync())
	return ""
}

// recover [from=L] [floor=L] [clean] [cut=(L,L)] [tail=L]: opens and recovers;
// each success begins a new term. tail: the chain at from is said to be that at L.
func (s *script) recover(d *datadriven.TestData) string {
	var o RecoverOptions
	if d.HasArg("floor") {
		o.Floor = s.lsn(d, "floor")
	}
	if d.HasArg("from") {
		o.From = s.lsn(d, "from")
	}
	if o.Clean = d.HasArg("clean"); o.Clean && o.Floor == 0 {
		o.Floor = s.parse(d, "end")
	}
	if d.HasArg("cut") {
		var from, to string
		d.ScanArgs(s.t, "cut", &from, &to)
		o.CutNotes = []CutNote{{s.parse(d, from), s.parse(d, to)}}
	}
	if d.HasArg("tail") {
		o.At = s.tailAt(s.lsn(d, "tail"))
	}
	s.close()
	var err error
	if s.l, err = Open(testOptions(s.m)); err != nil {
		return s.failure(err)
	}
	before := s.snapshot()
	var visited []string
	r, err := s.l.Recover(s.t.Context(), o, func(e *record.Entry) error {
		visited = append(visited, s.name(e.LSN))
		return nil
	})
	if err != nil {
		if s.snapshot() != before {
			return "the disk was changed, and " + s.failure(err)
		}
		return s.failure(err)
	}
	return s.report(r, visited)
}

func (s *script) report(r Recovery, visited []string) string {
	out := fmt.Sprintf("end %s, %d entries", s.name(r.End), r.Entries)
	if len(visited) > 0 {
		out += fmt.Sprintf(" %s…%s", visited[0], visited[len(visited)-1])
	}
	if r.Torn {
		out += fmt.Sprintf(", torn [%s, %s)", s.name(r.CutFrom), s.name(r.CutTo))
	}
	keep := 0
	for keep < len(s.entries) && s.entries[keep].LSN < r.End {
		keep++
	}
	s.entries = s.entries[:keep]
	s.term++
	s.w = &writer{l: s.l, term: s.term, timeMS: 1000, commit: FirstLSN}
	return out
}

// tailAt is what a checkpoint at lsn would have kept.
func (s *script) tailAt(lsn ident.LSN) *Tail {
	for i := range s.entries {
		if e := &s.entries[i]; e.End() == lsn {
			return &Tail{CRC: e.CRC, Term: e.Term, TimeMS: e.TimeMS, Sealed: e.Type == record.TypeSeal}
		}
	}
	return &Tail{}
}

func (s *script) failure(err error) string {
	if c := corruption(err); c != nil {
		return fmt.Sprintf("%v at %s, lost up to %s: %s", fault.KindOf(err), s.name(c.LSN), s.name(c.LostTo), c.Reason)
	}
	if _, ok := errors.AsType[*fault.Error](err); !ok {
		return "no fault: " + err.Error()
	}
	return fmt.Sprintf("%v: %v", fault.KindOf(err), err)
}

// snapshot is the content of all segments.
func (s *script) snapshot() string {
	names, err := s.m.List(testDir)
	must(s.t, err)
	var b strings.Builder
	for _, name := range names {
		content, err := disk.ReadFile(s.m, filepath.Join(testDir, name))
		must(s.t, err)
		fmt.Fprintf(&b, "%s %d %x\n", name, len(content), content)
	}
	return b.String()
}
