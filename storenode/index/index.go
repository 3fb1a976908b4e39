// SPDX-License-Identifier: Apache-2.0

package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/view/container"
	"github.com/mansiomq/mansio/storenode/view/keyindex"
	"github.com/mansiomq/mansio/storenode/view/queue"
	"github.com/mansiomq/mansio/storenode/view/sealed"
)

// Kinds of sections, for ever. 5 is kept for runs of timers.
const (
	sectionQueues uint32 = 1
	sectionTimes  uint32 = 2
	sectionKeys   uint32 = 3
	sectionIDs    uint32 = 4
)

var kind = container.Kind{Magic: [8]byte([]byte("MNSINDX\n")), Format: 1}

const (
	suffix   = ".idx"
	headSize = 8 + 4 + 4 + 8 + 8
)

// Head says which segment of which log an index is of. LastCRC is the CRC of the
// segment's last entry.
type Head struct {
	Cluster uint64
	Shard   ident.Shard
	Base    ident.LSN
	End     ident.LSN
	LastCRC uint32
}

func (h *Head) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, headSize)
	b = le.AppendUint64(b, h.Cluster)
	b = le.AppendUint32(b, uint32(h.Shard))
	b = le.AppendUint32(b, h.LastCRC)
	b = le.AppendUint64(b, uint64(h.Base))
	return le.AppendUint64(b, uint64(h.End))
}

func decodeHead(b []byte) (Head, error) {
	if len(b) != headSize {
		return Head{}, fault.Errorf("", fault.Corrupt, "head of %d bytes", len(b))
	}
	le := binary.LittleEndian
	return Head{
		Cluster: le.Uint64(b), Shard: ident.Shard(le.Uint32(b[8:])), LastCRC: le.Uint32(b[12:]),
		Base: ident.LSN(le.Uint64(b[16:])), End: ident.LSN(le.Uint64(b[24:])),
	}, nil
}

func (h *Head) segment() sealed.Segment { return sealed.Segment{Base: h.Base, End: h.End} }

// Name is the name of the index file of the segment at base.
func Name(base ident.LSN) string { return fmt.Sprintf("%020d%s", uint64(base), suffix) }

// Write makes the index of a segment durable in dir, replacing one that is
// there. The caller guarantees that the log is synced to h.End. A full disk is
// fault.DiskFull, and leaves nothing.
func Write(fs disk.FS, dir string, h Head, queues *queue.Run, keys *keyindex.Run) error {
	sections := []container.Section{
		{Kind: sectionQueues, Write: queues.WriteQueues},
		{Kind: sectionTimes, Write: queues.WriteTimes},
		{Kind: sectionKeys, Write: keys.WriteKeys},
		{Kind: sectionIDs, Write: keys.WriteIDs},
	}
	if err := container.Write(fs, dir, Name(h.Base), kind, h.encode(), sections); err != nil {
		return fault.E("index.Write", fault.Other, err)
	}
	return nil
}

// File is an open index. All methods may be called concurrently.
type File struct {
	head   Head
	f      *container.File
	queues *queue.Stored
	keys   *keyindex.Stored
}

// Open opens the index of the segment at base. The caller compares Head with the
// log it has: with Check, or by itself.
func Open(fs disk.FS, dir string, base ident.LSN) (*File, error) {
	const op = "index.Open"
	f, err := container.Open(fs, dir, Name(base), kind)
	if err != nil {
		return nil, fault.E(op, fault.Other, err)
	}
	x := &File{f: f}
	if err := x.open(base); err != nil {
		return nil, errors.Join(fault.E(op, fault.Other, fmt.Errorf("%s: %w", Name(base), err)), f.Close())
	}
	return x, nil
}

func (x *File) open(base ident.LSN) (err error) {
	if x.head, err = decodeHead(x.f.Head()); err != nil {
		return err
	}
	if x.head.Base != base {
		return fault.Errorf("", fault.Corrupt, "says that it is of LSN %d", x.head.Base)
	}
	var parts [sectionIDs + 1]*io.SectionReader
	for kind := sectionQueues; kind <= sectionIDs; kind++ {
		if parts[kind], err = x.f.Section(kind); err != nil {
			return fault.E("", fault.Corrupt, err)
		}
	}
	if x.queues, err = queue.Open(parts[sectionQueues], parts[sectionTimes], x.f); err != nil {
		return err
	}
	if x.keys, err = keyindex.Open(parts[sectionKeys], parts[sectionIDs], x.f); err != nil {
		return err
	}
	if q, k := x.queues.Segment(), x.keys.Segment(); q != x.head.segment() || k != q {
		return fault.Errorf("", fault.Corrupt, "head of %v, queues of %v, keys of %v", x.head.segment(), q, k)
	}
	return nil
}

// Check compares the index with the segment that it must be of. Another cluster
// or shard is fault.Incompatible, another history of the same log fault.Corrupt.
func (x *File) Check(want Head) error {
	if x.head.Cluster != want.Cluster || x.head.Shard != want.Shard {
		return fault.Errorf("index.Check", fault.Incompatible, "%s is of cluster %016x shard %d, not %016x shard %d",
			Name(x.head.Base), x.head.Cluster, x.head.Shard, want.Cluster, want.Shard)
	}
	if x.head != want {
		return fault.Errorf("index.Check", fault.Corrupt, "%s was made from %+v, not from %+v", Name(x.head.Base), x.head, want)
	}
	return nil
}

// Head says which segment the index is of.
func (x *File) Head() Head { return x.head }

// Queues is the segment's postings. Closing them closes the file.
func (x *File) Queues() *queue.Stored { return x.queues }

// Keys is the segment's keys and ids. Closing them closes the file.
func (x *File) Keys() *keyindex.Stored { return x.keys }

// Verify reads the whole file and checks it: fault.Corrupt when it is damaged.
func (x *File) Verify() error { return x.f.Verify() }

// Close ends reading; reads that come later fail with fault.NotFound.
func (x *File) Close() error { return x.f.Close() }

// List returns the bases of all index files in dir, oldest first, sound or not.
func List(fs disk.FS, dir string) ([]ident.LSN, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fault.E("index.List", fault.Other, err)
	}
	var all []ident.LSN
	for _, name := range names { // sorted, and all of one length
		digits, ok := strings.CutSuffix(name, suffix)
		if !ok {
			continue
		}
		if base, err := strconv.ParseUint(digits, 10, 64); err == nil && name == Name(ident.LSN(base)) {
			all = append(all, ident.LSN(base))
		}
	}
	return all, nil
}

// Remove removes the index file of the segment at base, and what an unfinished
// Write of it left; it is no error when there is none. Readers that have it open
// keep reading.
func Remove(fs disk.FS, dir string, base ident.LSN) error {
	for _, name := range []string{Name(base), Name(base) + container.TempSuffix} {
		if err := fs.Remove(filepath.Join(dir, name)); err != nil && !container.NotExist(err) {
			return fault.E("index.Remove", fault.Other, err)
		}
	}
	if err := fs.SyncDir(dir); err != nil {
		return fault.E("index.Remove", fault.Other, err)
	}
	return nil
}
