// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"errors"
	iofs "io/fs"
	"path/filepath"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/storenode/disk"
)

// slotBytes is the fixed length of a slot file's content; the meta file is far
// smaller, so a slot is overwritten in place and its size never changes.
const slotBytes = 4096

var slotNames = [2]string{"meta.a", "meta.b"}

// MetaFile is the replica's durable memory. Not safe for concurrent use.
type MetaFile struct {
	fs       disk.FS
	dir      string
	sequence uint64          // of the newest slot
	named    map[string]bool // slots whose names this process made durable
}

// CreateMeta writes the first meta file of a new replica in an existing folder.
// Durable when it returns. fault.Exists: there is one already.
func CreateMeta(fs disk.FS, dir string, m Meta) (*MetaFile, error) {
	if _, _, err := LoadMeta(fs, dir); !fault.Is(err, fault.NotFound) {
		return nil, fault.Errorf("create replica meta", fault.Exists, "%s holds a replica: %w", dir, errOrNone(err))
	}
	f := &MetaFile{fs: fs, dir: dir, named: map[string]bool{}}
	err := f.Store(m)
	return f, err
}

func errOrNone(err error) error {
	if err == nil {
		return errors.New("its meta file is readable")
	}
	return err
}

// LoadMeta reads the newest valid slot. fault.NotFound: there is no slot at all,
// the replica is absent; fault.Corrupt: there is one, but none is whole, which is
// not the same. A slot that the disk cannot read may be the newest, so that is
// an error even beside a valid one.
func LoadMeta(fs disk.FS, dir string) (Meta, *MetaFile, error) {
	const op = "load replica meta"
	var newest Meta
	var sequence uint64
	found, newer, missing, bad := false, false, 0, error(nil)
	for _, name := range slotNames {
		b, err := disk.ReadFile(fs, filepath.Join(dir, name))
		if errors.Is(err, iofs.ErrNotExist) {
			missing++
			continue
		}
		if err != nil {
			return Meta{}, nil, fault.E(op+" "+name, fault.Internal, err)
		}
		m, s, err := decodeSlot(b)
		if err == nil {
			if !found || s > sequence {
				found, newest, sequence = true, m, s
			}
			continue
		}
		newer = newer || fault.Is(err, fault.Incompatible)
		bad = errors.Join(bad, fault.E(op+" "+name, fault.Other, err))
	}
	switch {
	case found && !newer:
		return newest, &MetaFile{fs: fs, dir: dir, sequence: sequence, named: map[string]bool{}}, nil
	case missing == len(slotNames):
		return Meta{}, nil, fault.Errorf(op, fault.NotFound, "%s: no meta file", dir)
	case newer:
		return Meta{}, nil, fault.E(op, fault.Incompatible, bad)
	default:
		return Meta{}, nil, fault.E(op, fault.Corrupt, bad)
	}
}

func decodeSlot(b []byte) (Meta, uint64, error) {
	end := len(b)
	if end > metaFixed {
		cuts := int(b[104]) | int(b[105])<<8
		end = min(end, metaFixed+cuts*metaCutSize+4)
	}
	return decodeMeta(b[:end])
}

// Store makes m durable, in the slot that is not the newest. After an error the
// newest slot is as it was, and the next Store writes the same one again.
func (f *MetaFile) Store(m Meta) (err error) {
	sequence := f.sequence + 1
	slot := make([]byte, slotBytes)
	copy(slot, m.encode(sequence))
	if err := f.write(slotNames[sequence%2], slot); err != nil {
		return fault.E("store replica meta", fault.Internal, err)
	}
	f.sequence = sequence
	return nil
}

func (f *MetaFile) write(name string, slot []byte) (err error) {
	file, err := f.fs.Open(filepath.Join(f.dir, name), disk.Create)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.WriteAt(slot, 0); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if f.named[name] {
		return nil
	}
	if err := f.fs.SyncDir(f.dir); err != nil {
		return err
	}
	f.named[name] = true
	return nil
}
