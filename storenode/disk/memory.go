// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

// Memory is a file system in memory that knows what would survive a power loss.
type Memory struct {
	mu      sync.Mutex
	files   map[string]*inode // as the process sees it
	dirs    map[string]bool
	kept    map[string]*inode // the names that survive for certain
	journal []rename          // changes of names that may survive
	space   int64             // 0: no limit
	lies    bool              // syncs do nothing
	hook    func(Call) error
	calls   [opCount]int
}

// rename is a create (from == ""), a remove (to == "") or a rename.
type rename struct {
	from, to string
	file     *inode
}

type inode struct {
	now     image
	kept    image    // what survives for certain
	changes []change // since the last sync, oldest first
	linked  bool
}

var _ FS = (*Memory)(nil)

// NewMemory returns an empty disk without a limit.
func NewMemory() *Memory {
	return &Memory{
		files: map[string]*inode{}, kept: map[string]*inode{},
		dirs: map[string]bool{"/": true, ".": true},
	}
}

// Limit gives the disk a size in bytes, 0 for none. A file takes its size
// rounded up to 4,096; writes that would exceed the limit fail with ENOSPC and
// write nothing. A limit below what is used makes every growth fail.
func (m *Memory) Limit(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.space = bytes
}

// Free is a FreeFunc. A disk without a limit claims 1 TiB.
func (m *Memory) Free(string) (free, total int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.space == 0 {
		return 1 << 40, 1 << 40, nil
	}
	return max(0, m.space-m.used()), m.space, nil
}

func (m *Memory) used() (n int64) {
	for _, f := range m.files {
		n += blocks(f.now.size)
	}
	return n
}

func blocks(size int64) int64 { return (size + pageSize - 1) / pageSize * pageSize }

// Open opens the file.
func (m *Memory) Open(name string, flag Flag) (File, error) {
	name = filepath.Clean(name)
	if err := m.call(Call{Op: OpOpen, Name: name}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	switch {
	case m.dirs[name]:
		return nil, pathError("open", name, syscall.EISDIR)
	case f == nil && flag&2 == 0, f == nil && !m.dirs[filepath.Dir(name)]:
		return nil, pathError("open", name, syscall.ENOENT)
	case f != nil && flag&4 != 0:
		return nil, pathError("open", name, syscall.EEXIST)
	case f == nil:
		f = &inode{linked: true}
		m.files[name] = f
		m.journal = append(m.journal, rename{to: name, file: f})
	}
	return &memoryFile{m: m, inode: f, name: name, write: flag&ReadWrite != 0}, nil
}

// Remove removes the file's name. Directories cannot be removed.
func (m *Memory) Remove(name string) error {
	name = filepath.Clean(name)
	if err := m.call(Call{Op: OpRemove, Name: name}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	if f == nil {
		return pathError("remove", name, syscall.ENOENT)
	}
	f.linked = false
	delete(m.files, name)
	m.journal = append(m.journal, rename{from: name, file: f})
	return nil
}

// Rename renames a file, replacing the target.
func (m *Memory) Rename(from, to string) error {
	from, to = filepath.Clean(from), filepath.Clean(to)
	if err := m.call(Call{Op: OpRename, Name: from}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[from]
	if f == nil || !m.dirs[filepath.Dir(to)] {
		return pathError("rename", from, syscall.ENOENT)
	}
	if old := m.files[to]; old != nil && old != f {
		old.linked = false
	}
	delete(m.files, from)
	m.files[to] = f
	m.journal = append(m.journal, rename{from: from, to: to, file: f})
	return nil
}

// List returns the sorted names in dir.
func (m *Memory) List(dir string) ([]string, error) {
	dir = filepath.Clean(dir)
	if err := m.call(Call{Op: OpList, Name: dir}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirs[dir] {
		return nil, pathError("list", dir, syscall.ENOENT)
	}
	var names []string
	for name := range m.files {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	for name := range m.dirs {
		if name != dir && filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// MkdirAll creates the directory and its missing parents.
func (m *Memory) MkdirAll(dir string) error {
	dir = filepath.Clean(dir)
	if err := m.call(Call{Op: OpMkdir, Name: dir}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for d := dir; !m.dirs[d]; d = filepath.Dir(d) {
		if m.files[d] != nil {
			return pathError("mkdir", d, syscall.ENOTDIR)
		}
		m.dirs[d] = true
	}
	return nil
}

// SyncDir makes the names in dir durable.
func (m *Memory) SyncDir(dir string) error {
	dir = filepath.Clean(dir)
	if err := m.call(Call{Op: OpSyncDir, Name: dir}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirs[dir] {
		return pathError("fsync", dir, syscall.ENOENT)
	}
	if m.lies {
		return nil
	}
	m.journal = slices.DeleteFunc(m.journal, func(r rename) bool {
		if !r.touches(dir) {
			return false
		}
		r.apply(m.kept)
		return true
	})
	return nil
}

func (r *rename) touches(dir string) bool {
	return r.from != "" && filepath.Dir(r.from) == dir || r.to != "" && filepath.Dir(r.to) == dir
}

func (r *rename) apply(names map[string]*inode) {
	if r.from != "" && names[r.from] == r.file {
		delete(names, r.from)
	}
	if r.to != "" {
		names[r.to] = r.file
	}
}

// memoryFile is a handle.
type memoryFile struct {
	m      *Memory
	inode  *inode
	name   string
	write  bool
	closed bool // guarded by m.mu
}

func (f *memoryFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.m.call(Call{Op: OpRead, Name: f.name, Off: off, Len: len(b)}); err != nil {
		return 0, err
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return 0, pathError("read", f.name, fs.ErrClosed)
	}
	n := f.inode.now.read(b, off)
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.m.call(Call{Op: OpWrite, Name: f.name, Off: off, Len: len(b)}); err != nil {
		return 0, err
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.mayGrow("write", off+int64(len(b))); err != nil {
		return 0, err
	}
	c := change{n: len(b), off: off}
	if !allZero(b) {
		c.data = slices.Clone(b)
	}
	f.inode.change(c)
	return len(b), nil
}

func (f *memoryFile) Truncate(size int64) error {
	if err := f.m.call(Call{Op: OpTruncate, Name: f.name, Off: size}); err != nil {
		return err
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.mayGrow("truncate", size); err != nil {
		return err
	}
	f.inode.change(change{truncate: true, off: size})
	return nil
}

// mayGrow says whether the file may be written up to size.
func (f *memoryFile) mayGrow(op string, size int64) error {
	if f.closed {
		return pathError(op, f.name, fs.ErrClosed)
	}
	if !f.write {
		return pathError(op, f.name, syscall.EBADF)
	}
	grow := blocks(size) - blocks(f.inode.now.size)
	if f.m.space > 0 && grow > 0 && f.inode.linked && f.m.used()+grow > f.m.space {
		return pathError(op, f.name, syscall.ENOSPC)
	}
	return nil
}

func (f *memoryFile) Sync() error {
	err := f.m.call(Call{Op: OpSync, Name: f.name})
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	switch {
	case f.closed:
		return pathError("fdatasync", f.name, fs.ErrClosed)
	case err != nil:
		// As kernels do: the bytes are dropped and count as clean, no later sync
		// writes them.
		f.inode.changes = nil
		return err
	case f.m.lies:
		return nil
	}
	for i := range f.inode.changes {
		f.inode.changes[i].apply(&f.inode.kept)
	}
	f.inode.changes = nil
	return nil
}

// dropCache forgets what a failed sync has left in memory only.
func (f *memoryFile) dropCache(int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.inode.now = f.inode.kept.clone()
	for i := range f.inode.changes {
		f.inode.changes[i].apply(&f.inode.now)
	}
	return nil
}

func (f *memoryFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return 0, pathError("stat", f.name, fs.ErrClosed)
	}
	return f.inode.now.size, nil
}

func (f *memoryFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	return nil
}

func (n *inode) change(c change) {
	c.apply(&n.now)
	n.changes = append(n.changes, c)
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
