// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/view/container"
)

// View is what the shard does with every view beside applying entries to it.
type View interface {
	// Checkpoint writes the whole state; equal states write equal bytes.
	Checkpoint(io.Writer) error
	// Restore replaces the state by what Checkpoint wrote. Damaged bytes are an
	// error and change nothing.
	Restore(io.Reader) error
	// Digest is equal for equal states.
	Digest() uint64
}

// Kinds of sections, for ever. SectionShard is where the log begins.
const (
	SectionQueue    uint32 = 1
	SectionDelivery uint32 = 2
	SectionKeyIndex uint32 = 3
	SectionProducer uint32 = 4
	SectionCatalog  uint32 = 5
	SectionShard    uint32 = 64
)

// CheckpointsKept is how many checkpoints stay: one to use, one to fall back to.
const CheckpointsKept = 2

var checkpointKind = container.Kind{Magic: [8]byte([]byte("MNSCKPT\n")), Format: 1}

const (
	checkpointPrefix = "ckpt-"
	checkpointHead   = 8 + 4 + 4 + 8 + 8 + 8
)

// Meta says of which log a checkpoint is, and where in it: everything below LSN
// is in it. LastCRC, Term and TimeMS are those of the last entry below LSN.
type Meta struct {
	Cluster uint64
	Shard   ident.Shard
	LSN     ident.LSN
	LastCRC uint32
	Term    ident.Term
	TimeMS  int64
}

func (m *Meta) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, checkpointHead)
	b = le.AppendUint64(b, m.Cluster)
	b = le.AppendUint32(b, uint32(m.Shard))
	b = le.AppendUint32(b, m.LastCRC)
	b = le.AppendUint64(b, uint64(m.LSN))
	b = le.AppendUint64(b, uint64(m.Term))
	return le.AppendUint64(b, uint64(m.TimeMS)) //nolint:gosec // two's complement is the format
}

func (m *Meta) decode(b []byte) error {
	if len(b) != checkpointHead {
		return fault.Errorf("", fault.Corrupt, "checkpoint head of %d bytes", len(b))
	}
	le := binary.LittleEndian
	*m = Meta{
		Cluster: le.Uint64(b), Shard: ident.Shard(le.Uint32(b[8:])), LastCRC: le.Uint32(b[12:]),
		LSN: ident.LSN(le.Uint64(b[16:])), Term: ident.Term(le.Uint64(b[24:])),
		TimeMS: int64(le.Uint64(b[32:])), //nolint:gosec // two's complement is the format
	}
	return nil
}

// Section is one view's state in bytes.
type Section struct {
	Kind uint32
	Data []byte
}

// Capture encodes a view, on the goroutine that owns it.
func Capture(kind uint32, v View) (Section, error) {
	var b bytes.Buffer
	if err := v.Checkpoint(&b); err != nil {
		return Section{}, err
	}
	return Section{kind, b.Bytes()}, nil
}

func checkpointName(lsn ident.LSN) string {
	return fmt.Sprintf("%s%020d", checkpointPrefix, uint64(lsn))
}

// Checkpoints lists the LSNs of the checkpoint files in dir, oldest first,
// sound or not.
func Checkpoints(fs disk.FS, dir string) ([]ident.LSN, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fault.E("view.Checkpoints", fault.Other, err)
	}
	var all []ident.LSN
	for _, name := range names {
		digits, ok := strings.CutPrefix(name, checkpointPrefix)
		if !ok {
			continue
		}
		if lsn, err := strconv.ParseUint(digits, 10, 64); err == nil && name == checkpointName(ident.LSN(lsn)) {
			all = append(all, ident.LSN(lsn))
		}
	}
	slices.Sort(all)
	return all, nil
}

// WriteCheckpoint makes a checkpoint durable and then removes all but the
// newest CheckpointsKept and what unfinished writes left. The caller guarantees
// that the log is synced to m.LSN and that the index file of every segment below
// it is durable, and that no two calls run at once on a directory.
func WriteCheckpoint(fs disk.FS, dir string, m Meta, sections []Section) error {
	parts := make([]container.Section, len(sections))
	for i, s := range sections {
		parts[i] = container.Bytes(s.Kind, s.Data)
	}
	if err := container.Write(fs, dir, checkpointName(m.LSN), checkpointKind, m.encode(), parts); err != nil {
		return fault.E("view.WriteCheckpoint", fault.Other, err)
	}
	if err := prune(fs, dir, m.LSN); err != nil {
		return fault.E("view.WriteCheckpoint", fault.Other, err)
	}
	return nil
}

// prune never removes the checkpoint just written, also not when the directory
// holds newer ones: of a longer log that was cut since.
func prune(fs disk.FS, dir string, written ident.LSN) error {
	all, err := Checkpoints(fs, dir)
	if err != nil {
		return err
	}
	var drop []string
	for _, lsn := range all[:max(0, len(all)-CheckpointsKept)] {
		if lsn != written {
			drop = append(drop, checkpointName(lsn))
		}
	}
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, checkpointPrefix) && strings.HasSuffix(name, container.TempSuffix) {
			drop = append(drop, name)
		}
	}
	for _, name := range drop {
		if err := fs.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// RemoveCheckpoint removes the checkpoint of an LSN: one that lies beyond the
// end of a log that was cut.
func RemoveCheckpoint(fs disk.FS, dir string, lsn ident.LSN) error {
	err := fs.Remove(filepath.Join(dir, checkpointName(lsn)))
	return errors.Join(err, fs.SyncDir(dir))
}

// Checkpoint is an open checkpoint whose bytes were all checked. The caller
// closes it.
type Checkpoint struct {
	Meta
	// Skipped are the errors of newer checkpoints that are damaged.
	Skipped []error
	f       *container.File
}

// NewestCheckpoint opens the newest checkpoint at or below limit whose bytes are
// sound. No file: fault.NotFound. All of them damaged: fault.Corrupt. One of
// another log or of a newer format is fault.Incompatible, and one that cannot be
// read is the reader's error: neither is passed over.
func NewestCheckpoint(fs disk.FS, dir string, cluster uint64, shard ident.Shard, limit ident.LSN) (*Checkpoint, error) {
	const op = "view.NewestCheckpoint"
	all, err := Checkpoints(fs, dir)
	if err != nil {
		return nil, err
	}
	var skipped []error
	for _, lsn := range slices.Backward(all) {
		if lsn > limit {
			continue
		}
		c, err := openCheckpoint(fs, dir, Meta{Cluster: cluster, Shard: shard, LSN: lsn})
		if err == nil {
			c.Skipped = skipped
			return c, nil
		}
		if !fault.Is(err, fault.Corrupt) {
			return nil, fault.E(op, fault.Other, err)
		}
		skipped = append(skipped, err)
	}
	if len(skipped) > 0 {
		return nil, fault.E(op, fault.Corrupt, errors.Join(skipped...))
	}
	return nil, fault.Errorf(op, fault.NotFound, "no checkpoint in %s", dir)
}

func openCheckpoint(fs disk.FS, dir string, want Meta) (_ *Checkpoint, err error) {
	f, err := container.Open(fs, dir, checkpointName(want.LSN), checkpointKind)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fault.E("", fault.Other, errors.Join(err, f.Close()))
		}
	}()
	c := &Checkpoint{f: f}
	if err := c.decode(f.Head()); err != nil {
		return nil, err
	}
	if c.Cluster != want.Cluster || c.Shard != want.Shard {
		return nil, fault.Errorf("", fault.Incompatible, "%s is of cluster %016x shard %d, not %016x shard %d",
			checkpointName(want.LSN), c.Cluster, c.Shard, want.Cluster, want.Shard)
	}
	if c.LSN != want.LSN {
		return nil, fault.Errorf("", fault.Corrupt, "%s says that it is of LSN %d", checkpointName(want.LSN), c.LSN)
	}
	return c, f.Verify()
}

// Restore gives a view the state that its section holds. No such section is
// fault.NotFound, a section that the view does not accept fault.Corrupt.
func (c *Checkpoint) Restore(kind uint32, v View) error {
	r, err := c.f.Section(kind)
	if err != nil {
		return err
	}
	if err := v.Restore(r); err != nil {
		return fault.E("view.Checkpoint.Restore", fault.Corrupt, fmt.Errorf("section %d: %w", kind, err))
	}
	return nil
}

// Close closes the file.
func (c *Checkpoint) Close() error { return c.f.Close() }
