// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"golang.org/x/sys/unix"

	"github.com/mansiomq/mansio/internal/fault"
)

const (
	// segmentBytes is the size of a file of etcd's log. One is being filled and the next one is prepared, both fully
	// allocated. Etcd's own 64 MB would take 128 MB for metadata of some KB.
	segmentBytes = 8 << 20
	// reserveBytes stay allocated behind the used part of etcd's database: the disk may fill up at any moment, and what
	// etcd writes then has its blocks already. Half of it belongs to etcd alone.
	reserveBytes = 16 << 20
	// freeMin is the free space below which nothing new is written, and etcd is not started: the next file of the log
	// and small files of etcd must find room.
	freeMin = 2 * segmentBytes
	// firstMin is the free space that a first start needs: both files of the log, the reserve, and freeMin.
	firstMin = 2*segmentBytes + reserveBytes + freeMin
	// blockBytes is the unit in which systems count what a file takes, whatever its file system uses.
	blockBytes = 512
)

// ErrReopen says that the server works but has to be closed and started again:
// while the disk was full, it could not prepare the next file of its log, and it
// does not try that twice.
var ErrReopen = errors.New("a file of its log could not be prepared while the disk was full")

// FreeFunc says how many bytes the file system that holds dir can still take from
// this process, and how many it has in all.
type FreeFunc func(dir string) (free, total int64, err error)

// room keeps etcd away from a full disk: a write that finds no space breaks it for
// good. Safe for concurrent use.
type room struct {
	dir  string
	free FreeFunc
	log  *slog.Logger
	// used is the size of the database up to its last used page.
	used    func() int64
	trouble *trouble
	// stale is set when the next file of the log could not be prepared.
	stale atomic.Bool
	// full is set while writes are refused.
	full atomic.Bool
}

func (r *room) database() string { return filepath.Join(r.dir, "member", "snap", "db") }

// checkStart refuses to start where etcd would break.
func (r *room) checkStart() error {
	free, _, err := r.free(r.dir)
	if err != nil {
		return fault.E("", fault.Unavailable, err)
	}
	need := int64(freeMin)
	if _, err := os.Stat(r.database()); err != nil {
		need = firstMin
	}
	if free < need {
		return fault.Errorf("", fault.DiskFull, "the disk of %s is full: %d bytes are free, %d are needed: make space and start again",
			r.dir, free, need)
	}
	return nil
}

// check says whether a write may go to etcd. On a full disk nothing new is made;
// changes and deletions still are, as long as the reserve lasts.
func (r *room) check(creates bool) error {
	free, _, err := r.free(r.dir)
	if err != nil {
		return fault.E("", fault.Unavailable, err)
	}
	enough := free >= freeMin
	if r.stale.Load() && enough {
		err := fault.Errorf("", fault.Unavailable, "etcd starts again: %w", ErrReopen)
		r.trouble.tell(err)
		return err
	}
	if r.stale.Load() {
		return r.refuse(free, nil)
	}
	left := r.reserved() - r.used()
	if enough && left < reserveBytes/2 {
		if err := r.extend(); err != nil {
			return r.refuse(free, err)
		}
		left = reserveBytes
	}
	if left < reserveBytes/2 || creates && !enough {
		return r.refuse(free, nil)
	}
	if enough && r.full.Swap(false) {
		r.log.Info("metadata are written again: the disk has space", "folder", r.dir, "free_bytes", free)
	}
	return nil
}

func (r *room) refuse(free int64, cause error) error {
	err := fault.Errorf("", fault.DiskFull, "the disk of %s is full: %d bytes are free, new metadata need %d: make space",
		r.dir, free, freeMin)
	if cause != nil {
		err = fault.Errorf("", fault.DiskFull, "the disk of %s takes no more metadata: make space: %w", r.dir, cause)
	}
	if !r.full.Swap(true) {
		r.log.Error("metadata are not written", "error", err)
	}
	return err
}

// reserved is how many bytes of the database are allocated.
func (r *room) reserved() int64 {
	var st unix.Stat_t
	if err := unix.Stat(r.database(), &st); err != nil {
		return 0 // extend says why
	}
	return st.Blocks * blockBytes
}

// extend allocates the reserve, behind what is used now. Etcd sees nothing of it.
// A file system that cannot do that says nothing, and has no reserve.
func (r *room) extend() error {
	file, err := os.OpenFile(r.database(), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(fileutil.Preallocate(file, r.used()+reserveBytes, false), file.Close())
}
