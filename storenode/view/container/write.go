// SPDX-License-Identifier: Apache-2.0

package container

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"path/filepath"
	"syscall"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/view/flat"
)

const (
	align      = 8
	headStart  = 16
	tableEntry = 24
	footerSize = 32
	// TempSuffix ends the names of files that are being written. A leftover of a
	// crash may be removed.
	TempSuffix = ".tmp"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Kind tells one kind of file from another.
type Kind struct {
	Magic  [8]byte
	Format uint32
}

// Section is one part of a file. Write writes its bytes.
type Section struct {
	Kind  uint32
	Write func(io.Writer) error
}

// Bytes is a section of bytes that are in memory.
func Bytes(kind uint32, b []byte) Section {
	return Section{kind, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}}
}

// Write writes a file of a kind durably under dir/name, replacing one of that
// name. After an error or a crash the name holds what it held before, or the new
// file as a whole. A full disk is fault.DiskFull.
func Write(fs disk.FS, dir, name string, kind Kind, head []byte, sections []Section) error {
	path := filepath.Join(dir, name)
	tmp := path + TempSuffix
	if err := writeTemp(fs, tmp, kind, head, sections); err != nil {
		return edge("container.Write", errors.Join(err, dropTemp(fs, tmp)))
	}
	if err := fs.Rename(tmp, path); err != nil {
		return edge("container.Write", err)
	}
	return edge("container.Write", fs.SyncDir(dir))
}

// dropTemp removes what a failed write left, to give its space back.
func dropTemp(fs disk.FS, tmp string) error {
	if err := fs.Remove(tmp); err != nil && !NotExist(err) {
		return err
	}
	return nil
}

func edge(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC):
		return fault.E(op, fault.DiskFull, err)
	default:
		return fault.E(op, fault.Other, err)
	}
}

func writeTemp(fs disk.FS, tmp string, kind Kind, head []byte, sections []Section) (err error) {
	f, err := fs.Open(tmp, disk.Create)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(0); err != nil {
		return err
	}
	w := &writer{f: f}
	if err := w.whole(kind, head, sections); err != nil {
		return err
	}
	return f.Sync()
}

// writer writes a file front to back.
type writer struct {
	f   disk.File
	off int64
	crc uint32 // of what was written since it was last reset
}

// Write implements io.Writer.
func (w *writer) Write(b []byte) (int, error) {
	n, err := w.f.WriteAt(b, w.off)
	w.off += int64(n)
	w.crc = crc32.Update(w.crc, castagnoli, b[:n])
	return n, err
}

func (w *writer) pad() error {
	if n := -w.off & (align - 1); n > 0 {
		_, err := w.Write(make([]byte, n))
		return err
	}
	return nil
}

func (w *writer) whole(kind Kind, head []byte, sections []Section) error {
	headCRC, err := w.head(kind, head)
	if err != nil {
		return err
	}
	table := make([]byte, 0, len(sections)*tableEntry+footerSize)
	for _, s := range sections {
		if table, err = w.section(table, s); err != nil {
			return err
		}
	}
	at := w.off
	table = binary.LittleEndian.AppendUint64(table, uint64(at))            //nolint:gosec // a file offset
	table = binary.LittleEndian.AppendUint32(table, uint32(len(sections))) //nolint:gosec // a handful
	table = binary.LittleEndian.AppendUint32(table, headCRC)
	table = binary.LittleEndian.AppendUint32(table, crc32.Checksum(table, castagnoli))
	table = binary.LittleEndian.AppendUint32(table, 0)
	table = append(table, kind.Magic[:]...)
	_, err = w.Write(table)
	return err
}

func (w *writer) head(kind Kind, head []byte) (crc uint32, err error) {
	b := append([]byte(nil), kind.Magic[:]...)
	b = binary.LittleEndian.AppendUint32(b, kind.Format)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(head))) //nolint:gosec // tens of bytes
	b = append(b, head...)
	crc = crc32.Checksum(b, castagnoli)
	b = binary.LittleEndian.AppendUint32(b, crc)
	if _, err := w.Write(b); err != nil {
		return 0, err
	}
	return crc, w.pad()
}

// section writes one section and adds its line to the table. Small writes of
// the section are gathered.
func (w *writer) section(table []byte, s Section) ([]byte, error) {
	w.crc = 0
	start := w.off
	e := flat.NewEncoder(w)
	if err := s.Write(rawWriter{e}); err != nil {
		return table, err
	}
	if err := e.Flush(); err != nil {
		return table, err
	}
	table = binary.LittleEndian.AppendUint32(table, s.Kind)
	table = binary.LittleEndian.AppendUint32(table, w.crc)
	table = binary.LittleEndian.AppendUint64(table, uint64(start))       //nolint:gosec // a file offset
	table = binary.LittleEndian.AppendUint64(table, uint64(w.off-start)) //nolint:gosec // a length
	return table, w.pad()
}

type rawWriter struct{ e *flat.Encoder }

// Write implements io.Writer; errors come out of the encoder's Flush.
func (r rawWriter) Write(b []byte) (int, error) {
	r.e.Raw(b)
	return len(b), nil
}
