// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/commitlog"
	"github.com/mansiomq/mansio/storenode/replica"
	"github.com/mansiomq/mansio/storenode/view"
)

// AcceptLoss gives up the entries from an LSN on in a replica that nobody has
// open and that failed in recovery: the LSN is the one that the failure names,
// or an entry boundary before it. It returns what is known to be lost. Durable
// when it returns; after an error the same call may be made again. The next
// barrier of the shard says that entries may be missing before it.
//
// fault.Invalid, and nothing is changed: this process has recovered the replica,
// so what failed later is not known from its bytes alone; or no entry begins
// there; or from what would be left nothing could be recovered.
func AcceptLoss(ctx context.Context, o Options, from ident.LSN) (lost replica.Cut, err error) {
	o.setDefaults()
	memory, err := replica.Recall(o.FS, o.Dir)
	if err != nil {
		return lost, err
	}
	if memory.Get().Instance == o.Instance {
		return lost, errCameUp
	}
	log, err := commitlog.Open(commitlog.Options{
		FS: o.FS, Dir: o.Dir, ClusterHash: o.ClusterHash, Shard: o.ID, SegmentBytes: o.SegmentBytes, Logger: o.Logger,
	})
	if err != nil {
		return lost, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	checkpoints, err := view.Checkpoints(o.FS, o.Dir)
	if err != nil {
		return lost, err
	}
	if !standsAt(checkpoints, log.Start(), from) {
		return lost, fault.Errorf("accept loss", fault.Invalid,
			"without a checkpoint at or below LSN %d nothing could be recovered from what is left: restore %s from a backup", from, o.Dir)
	}
	note, err := log.AcceptLoss(ctx, from)
	if err != nil {
		return lost, err
	}
	for _, lsn := range checkpoints {
		if lsn > from { // of entries that are given up
			if err := view.RemoveCheckpoint(o.FS, o.Dir, lsn); err != nil {
				return lost, err
			}
		}
	}
	lost = replica.Cut{From: note.From, To: note.To}
	return lost, memory.Update(func(m *replica.Meta) {
		m.Note(lost)
		m.Floor, m.Clean, m.Unclean = min(m.Floor, from), false, true
	})
}

var errCameUp = fault.Errorf("accept loss", fault.Invalid,
	"the replica came up in this process and failed later: restart the store node, so that its log is read again")

// standsAt reports whether a log that ends at end can be recovered: it holds its
// beginning, or a checkpoint stands for that.
func standsAt(checkpoints []ident.LSN, start, end ident.LSN) bool {
	return start == commitlog.FirstLSN || slices.ContainsFunc(checkpoints, func(c ident.LSN) bool { return c <= end })
}

// CameUp reports whether this process has recovered the replica.
func (s *Shard) CameUp() error {
	if s.meta.Get().Instance == s.o.Instance {
		return errCameUp
	}
	return nil
}

// remedied adds the way on to the failure of a recovery.
func (s *Shard) remedied(err error) error {
	var corrupt *commitlog.CorruptionError
	if !errors.As(err, &corrupt) {
		return err
	}
	if !standsAt(s.checkpoints, s.commitlog.Start(), corrupt.LSN) {
		return fmt.Errorf("%w. Restore %s from a backup", err, s.o.Dir)
	}
	return fmt.Errorf("%w. Restore %s from a backup, or give up what is lost: mansio shard accept-loss %d --from %d",
		err, s.o.Dir, s.o.ID, corrupt.LSN)
}
