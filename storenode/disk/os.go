// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	fileMode = 0o640
	dirMode  = 0o750
)

// OS is the machine's file system.
type OS struct{}

var _ FS = OS{}

// Open opens the file.
func (OS) Open(name string, flag Flag) (File, error) {
	how := os.O_RDONLY
	if flag&ReadWrite != 0 {
		how = os.O_RDWR
	}
	if flag&2 != 0 {
		how |= os.O_CREATE
	}
	if flag&4 != 0 {
		how |= os.O_EXCL
	}
	f, err := os.OpenFile(name, how, fileMode)
	if err != nil {
		return nil, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &osFile{File: f, raw: raw}, nil
}

// Remove removes the file's name.
func (OS) Remove(name string) error { return os.Remove(name) }

// Rename renames, replacing the target.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// List returns the sorted names in dir.
func (OS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// MkdirAll creates the directory and its missing parents, each durably. One that
// exists is made durable too: whoever created it may have died before.
func (o OS) MkdirAll(dir string) error {
	dir = filepath.Clean(dir)
	parent := filepath.Dir(dir)
	st, err := os.Stat(dir)
	switch {
	case err == nil && !st.IsDir():
		return pathError("mkdir", dir, syscall.ENOTDIR)
	case err == nil:
	case !errors.Is(err, fs.ErrNotExist):
		return err
	default:
		if err := o.MkdirAll(parent); err != nil {
			return err
		}
		if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := o.SyncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err // a parent that cannot even be read was not changed by us either
	}
	return nil
}

// SyncDir fsyncs the directory.
func (OS) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// osFile adds fdatasync to os.File, whose ReadAt and WriteAt are pread and
// pwrite. It goes through the raw connection, so that a Close while a Sync is
// under way waits instead of handing the descriptor to another file.
type osFile struct {
	*os.File
	raw syscall.RawConn
}

func (f *osFile) Sync() error {
	var err error
	if cerr := f.raw.Control(func(fd uintptr) { err = fdatasync(int(fd)) }); cerr != nil {
		return cerr
	}
	if err != nil {
		return pathError("fdatasync", f.Name(), err)
	}
	return nil
}

func (f *osFile) dropCache(off int64) error {
	var err error
	if cerr := f.raw.Control(func(fd uintptr) { err = dropCache(int(fd), off) }); cerr != nil {
		return cerr
	}
	if err != nil {
		return pathError("fadvise", f.Name(), err)
	}
	return nil
}

func (f *osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// OSFree asks the operating system; it is a FreeFunc. Blocks that only root may
// use do not count as free.
func OSFree(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, pathError("statfs", dir, err)
	}
	block := int64(st.Bsize)                                       //nolint:unconvert // its type differs by platform
	return int64(st.Bavail) * block, int64(st.Blocks) * block, nil //nolint:gosec // disks are smaller than 2^63
}

var _ FreeFunc = OSFree
