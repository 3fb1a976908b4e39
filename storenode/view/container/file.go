// SPDX-License-Identifier: Apache-2.0

package container

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/storenode/disk"
)

const (
	// headMax and sectionsMax bound what Open reads on a damaged file's word.
	headMax     = 4 << 10
	sectionsMax = 1 << 10
)

// File is an open file. All methods may be called concurrently. After Close,
// reads of its sections fail with fault.NotFound.
type File struct {
	name     string
	f        guarded
	head     []byte
	sections []placed
}

type placed struct {
	kind, crc uint32
	off, size int64
}

// guarded lets Close wait for reads that are under way.
type guarded struct {
	mu     sync.RWMutex
	f      disk.File
	closed bool
}

// ReadAt implements io.ReaderAt.
func (g *guarded) ReadAt(b []byte, off int64) (int, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return 0, fault.Errorf("container.File", fault.NotFound, "the file was retired")
	}
	return g.f.ReadAt(b, off)
}

func (g *guarded) close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	return g.f.Close()
}

// NotExist reports whether an error says that there is no such file.
func NotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// Open opens dir/name, which must be of that kind, and checks everything but the
// sections' bytes. No such file: fault.NotFound. Damaged: fault.Corrupt. Of a
// newer format: fault.Incompatible.
func Open(fsys disk.FS, dir, name string, kind Kind) (*File, error) {
	const op = "container.Open"
	path := filepath.Join(dir, name)
	f, err := fsys.Open(path, disk.ReadOnly)
	if NotExist(err) {
		return nil, fault.E(op, fault.NotFound, err)
	}
	if err != nil {
		return nil, fault.E(op, fault.Other, err)
	}
	c := &File{name: path, f: guarded{f: f}}
	if err := c.read(kind); err != nil {
		return nil, errors.Join(fault.E(op, fault.Other, fmt.Errorf("%s: %w", path, err)), f.Close())
	}
	return c, nil
}

func damaged(format string, operands ...any) error {
	return fault.Errorf("", fault.Corrupt, format, operands...)
}

func (c *File) read(kind Kind) error {
	size, err := c.f.f.Size()
	if err != nil {
		return err
	}
	headCRC, err := c.readHead(kind, size)
	if err != nil {
		return err
	}
	return c.readTable(kind, size, headCRC)
}

func (c *File) at(off int64, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := c.f.ReadAt(b, off); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, damaged("cut off at %d", off)
		}
		return nil, err
	}
	return b, nil
}

func (c *File) readHead(kind Kind, size int64) (crc uint32, err error) {
	if size < headStart+4+footerSize {
		return 0, damaged("%d bytes are no file of this kind", size)
	}
	b, err := c.at(0, headStart)
	if err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	if [8]byte(b) != kind.Magic {
		return 0, damaged("magic %x, want %x", b[:8], kind.Magic)
	}
	n := le.Uint32(b[12:])
	if n > headMax {
		return 0, damaged("head of %d bytes", n)
	}
	whole, err := c.at(0, headStart+int(n)+4)
	if err != nil {
		return 0, err
	}
	body := whole[:headStart+n]
	crc = le.Uint32(whole[len(body):])
	if got := crc32.Checksum(body, castagnoli); got != crc {
		return 0, damaged("head CRC %08x, want %08x", got, crc)
	}
	if format := le.Uint32(body[8:]); format != kind.Format {
		return 0, fault.Errorf("", fault.Incompatible, "format %d, this build reads %d", format, kind.Format)
	}
	c.head = body[headStart:]
	return crc, nil
}

func (c *File) readTable(kind Kind, size int64, headCRC uint32) error {
	foot, err := c.at(size-footerSize, footerSize)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	at, n := le.Uint64(foot), le.Uint32(foot[8:])
	length := int64(n) * tableEntry
	if n > sectionsMax || at > uint64(size) || int64(at)+length+footerSize != size { //nolint:gosec // at is at most size
		return damaged("table of %d sections at %d in %d bytes", n, at, size)
	}
	table, err := c.at(int64(at), int(length)) //nolint:gosec // at is at most size
	if err != nil {
		return err
	}
	got := crc32.Update(crc32.Checksum(table, castagnoli), castagnoli, foot[:16])
	if want := le.Uint32(foot[16:]); got != want || le.Uint32(foot[12:]) != headCRC ||
		le.Uint32(foot[20:]) != 0 || [8]byte(foot[24:]) != kind.Magic {
		return damaged("footer: CRC %08x, want %08x", got, want)
	}
	for ; len(table) > 0; table = table[tableEntry:] {
		p := placed{kind: le.Uint32(table), crc: le.Uint32(table[4:])}
		off, n := le.Uint64(table[8:]), le.Uint64(table[16:])
		if off > at || n > at-off {
			return damaged("section %d at %d of %d bytes", p.kind, off, n)
		}
		p.off, p.size = int64(off), int64(n) //nolint:gosec // inside the file
		c.sections = append(c.sections, p)
	}
	return nil
}

// Head is the kind's own part of the file's head.
func (c *File) Head() []byte { return c.head }

// Section returns the section of a kind, or fault.NotFound. Its bytes are not
// checked.
func (c *File) Section(kind uint32) (*io.SectionReader, error) {
	for _, p := range c.sections {
		if p.kind == kind {
			return io.NewSectionReader(&c.f, p.off, p.size), nil
		}
	}
	return nil, fault.Errorf("container.Section", fault.NotFound, "%s has no section %d", c.name, kind)
}

// verifyChunk is how much Verify holds in memory.
const verifyChunk = 256 << 10

// Verify reads the whole file and checks it, the zeros between sections
// included. A damaged file is fault.Corrupt.
func (c *File) Verify() error {
	size, err := c.f.f.Size()
	if err != nil {
		return fault.E("container.Verify", fault.Other, err)
	}
	buf := make([]byte, min(verifyChunk, size))
	end := int64(headStart + len(c.head) + 4)
	for _, p := range c.sections {
		if err := c.verifySection(p, end, buf); err != nil {
			return fault.E("container.Verify", fault.Other, fmt.Errorf("%s: %w", c.name, err))
		}
		end = p.off + p.size
	}
	table := size - footerSize - int64(len(c.sections))*tableEntry
	if err := c.zeros(end, table); err != nil {
		return fault.E("container.Verify", fault.Other, fmt.Errorf("%s: %w", c.name, err))
	}
	return nil
}

func (c *File) verifySection(p placed, prevEnd int64, buf []byte) error {
	if err := c.zeros(prevEnd, p.off); err != nil {
		return err
	}
	crc := uint32(0)
	for off := int64(0); off < p.size; {
		b := buf[:min(int64(len(buf)), p.size-off)]
		if _, err := c.f.ReadAt(b, p.off+off); err != nil {
			return err
		}
		crc = crc32.Update(crc, castagnoli, b)
		off += int64(len(b))
	}
	if crc != p.crc {
		return damaged("section %d: CRC %08x, want %08x", p.kind, crc, p.crc)
	}
	return nil
}

// zeros checks the gap between two parts.
func (c *File) zeros(from, to int64) error {
	if to-from < 0 || to-from >= align {
		return damaged("gap from %d to %d", from, to)
	}
	b, err := c.at(from, int(to-from))
	if err != nil {
		return err
	}
	for _, x := range b {
		if x != 0 {
			return damaged("gap from %d to %d is not zero", from, to)
		}
	}
	return nil
}

// Close ends reading; it waits for reads that are under way.
func (c *File) Close() error { return c.f.close() }
