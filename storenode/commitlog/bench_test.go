// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

// benchLog is a log of the default size on the machine's disk, with Run beside
// it.
func benchLog(b *testing.B, ring int64) (*Log, *writer, Options) {
	b.Helper()
	o := Options{FS: disk.OS{}, Dir: filepath.Join(b.TempDir(), "shard"), Shard: 1, RingBytes: ring}
	l, err := Open(o)
	must(b, err)
	r, err := l.Recover(b.Context(), RecoverOptions{}, ignore)
	must(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	run := make(chan error)
	go func() { run <- l.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		must(b, <-run)
		must(b, l.Close())
	})
	return l, newWriter(l, r), o
}

// template makes blocks of n messages of 1 KiB without allocating.
type template struct {
	n    int
	body []byte
	buf  []byte
}

func (p *template) next(w *writer) ([]byte, record.Header) {
	p.buf = p.buf[:0]
	prev := record.Header{CRC: w.l.tail.CRC, LSN: w.l.End()}
	for range p.n {
		at := len(p.buf)
		p.buf = p.buf[:at+record.HeaderSize]
		p.buf = append(p.buf, p.body...)
		h := record.Header{
			Len: uint32(record.HeaderSize + len(p.body)), PrevCRC: prev.CRC, Type: record.TypeMessage, Version: record.Version,
			LSN: prev.End(), Term: w.term, TimeMS: w.timeMS,
		}
		h.CRC = record.Finish(p.buf[at:], &h)
		prev = h
	}
	return p.buf, prev
}

func newTemplate(n int) *template {
	return &template{n: n, body: body(1024, "x"), buf: make([]byte, 0, n*(record.HeaderSize+1024))}
}

func appendOne(b *testing.B, l *Log, w *writer, p *template) {
	b.Helper()
	block, last := p.next(w)
	if l.Room() < int64(len(block)) {
		_, err := w.append(UseVital, record.TypeSeal, nil)
		must(b, err)
		if list := l.Segments(); len(list) > 3 { // as retention does: files are recycled
			must(b, l.Sync())
			must(b, l.Trim(list[2].Base))
		}
		block, last = p.next(w)
	}
	must(b, l.Append(block, last))
}

func BenchmarkAppendSync(b *testing.B) {
	for _, n := range []int{1, 16, 64, 140} {
		b.Run(fmt.Sprintf("messages=%d", n), func(b *testing.B) {
			l, w, _ := benchLog(b, 32<<20)
			p := newTemplate(n)
			b.SetBytes(int64(cap(p.buf)))
			b.ReportAllocs()
			for b.Loop() {
				appendOne(b, l, w, p)
				must(b, l.Sync())
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkBareDisk is what the disk gives to the same blocks in a file that was
// zeroed before: the yardstick of BenchmarkAppendSync.
func BenchmarkBareDisk(b *testing.B) {
	for _, n := range []int{1, 16, 64, 140} {
		b.Run(fmt.Sprintf("messages=%d", n), func(b *testing.B) {
			f, err := disk.OS{}.Open(filepath.Join(b.TempDir(), "file"), disk.Create)
			must(b, err)
			defer f.Close()
			const size = 64 << 20
			for off := int64(0); off < size; off += int64(len(zeros)) {
				_, err := f.WriteAt(zeros[:], off)
				must(b, err)
			}
			must(b, f.Sync())
			block := body(n*(record.HeaderSize+1024), "x")
			off := int64(0)
			b.SetBytes(int64(len(block)))
			for b.Loop() {
				_, err := f.WriteAt(block, off)
				must(b, err)
				must(b, f.Sync())
				if off += int64(len(block)); off+int64(len(block)) > size {
					off = 0
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	l, w, _ := benchLog(b, 32<<20)
	p := newTemplate(16)
	b.SetBytes(int64(cap(p.buf)))
	b.ReportAllocs()
	for b.Loop() {
		appendOne(b, l, w, p)
	}
}

// filled appends that many bytes and returns the LSNs of the entries.
func filled(b *testing.B, l *Log, w *writer, bytes int64) []ident.LSN {
	b.Helper()
	p := newTemplate(64)
	var at []ident.LSN
	for int64(l.End()) < bytes {
		lsn := l.End()
		appendOne(b, l, w, p)
		if l.End()-lsn > ident.LSN(cap(p.buf)) {
			lsn += record.HeaderSize // a Seal
		}
		for i := range p.n {
			at = append(at, lsn+ident.LSN(i*cap(p.buf)/p.n))
		}
	}
	must(b, l.Sync())
	return at
}

func BenchmarkRecover(b *testing.B) {
	l, w, o := benchLog(b, 0)
	filled(b, l, w, 256<<20)
	floor := l.Synced()
	b.SetBytes(int64(floor))
	for b.Loop() {
		l, err := Open(o)
		must(b, err)
		_, err = l.Recover(b.Context(), RecoverOptions{Floor: floor}, ignore)
		must(b, err)
		must(b, l.Close())
	}
}

func BenchmarkRead(b *testing.B) {
	for name, ring := range map[string]int64{"ring": 64 << 20, "pread": 0} {
		b.Run(name, func(b *testing.B) {
			l, w, _ := benchLog(b, ring)
			at := filled(b, l, w, 48<<20)
			buf := make([]byte, 4096)
			b.SetBytes(1024)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				_, _, err := l.Read(at[i%len(at)], buf)
				must(b, err)
				i += 7919
			}
		})
	}
}
