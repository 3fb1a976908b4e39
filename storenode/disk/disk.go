// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"path/filepath"
)

// Flag says how a file is opened.
type Flag uint8

// The flags. A file opened ReadOnly must exist.
const (
	ReadOnly  Flag = 0
	ReadWrite Flag = 1         // must exist
	Create    Flag = 1 | 2     // created empty when absent
	Exclusive Flag = 1 | 2 | 4 // must be absent
)

// FS is a file system. Names are paths as the operating system writes them.
type FS interface {
	Open(name string, flag Flag) (File, error)
	Remove(name string) error
	Rename(from, to string) error
	// List returns the names in dir, without the path, sorted.
	List(dir string) ([]string, error)
	MkdirAll(dir string) error
	SyncDir(dir string) error
}

// File is an open file. ReadAt and WriteAt follow the io contracts: fewer bytes
// than asked for only with an error; io.EOF at the end of the file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes everything written before the call durable.
	Sync() error
	// Truncate sets the size; what it adds reads as zeros.
	Truncate(size int64) error
	Size() (int64, error)
}

// FreeFunc says how many bytes the file system that holds dir can still take
// from this process, and how many it has in all.
type FreeFunc func(dir string) (free, total int64, err error)

// DropCache makes later reads of the file, from off on, come from the disk, as
// far as the system can: bytes that a failed sync has left behind in memory only
// are no longer seen. Call it after a Sync; what is not synced stays as it is.
func DropCache(f File, off int64) error {
	if d, ok := f.(interface{ dropCache(off int64) error }); ok {
		return d.dropCache(off)
	}
	return nil
}

// ReadFile returns the whole content of a file.
func ReadFile(fs FS, name string) (_ []byte, err error) {
	f, err := fs.Open(name, ReadOnly)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err != nil && !(errors.Is(err, io.EOF) && int64(n) == size) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

// Replace makes b the content of the file, durably and as a whole: after a
// crash the file holds either what it held before or b. It uses name + ".tmp".
func Replace(fs FS, name string, b []byte) error {
	tmp := name + ".tmp"
	if err := writeWhole(fs, tmp, b); err != nil {
		return err
	}
	if err := fs.Rename(tmp, name); err != nil {
		return err
	}
	return fs.SyncDir(filepath.Dir(name))
}

func pathError(op, name string, err error) error {
	return &iofs.PathError{Op: op, Path: name, Err: err}
}

func writeWhole(fs FS, name string, b []byte) (err error) {
	f, err := fs.Open(name, Create)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Sync()
}
