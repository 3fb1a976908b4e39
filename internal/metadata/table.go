// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/mansiomq/mansio/internal/fault"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// Table holds the newest snapshot. Reading is safe for concurrent use and takes
// no lock; changes come from one Watcher.
type Table struct {
	current atomic.Pointer[Snapshot]

	// applying is held while a step is applied and its listeners run.
	applying  sync.Mutex
	listeners []func(Delta)

	mu struct {
		sync.Mutex
		applied int64         // guarded; revision of which all listeners have heard
		changed chan struct{} // guarded; closed at the next step
	}
}

// NewTable makes an empty table of revision 0.
func NewTable() *Table {
	t := &Table{}
	t.current.Store(&Snapshot{})
	t.mu.changed = make(chan struct{})
	return t
}

// Snapshot returns the newest snapshot; never nil.
func (t *Table) Snapshot() *Snapshot { return t.current.Load() }

// OnApply adds a listener. It is called with every step, one at a time and in
// order, after the new snapshot is visible and before its revision counts as
// applied. It must not wait for anything slow. Add listeners before the table is
// fed.
func (t *Table) OnApply(listener func(Delta)) {
	t.applying.Lock()
	defer t.applying.Unlock()
	t.listeners = append(t.listeners, listener)
}

// Changed returns a channel that is closed at the next step. To miss nothing take
// the channel first, look at the snapshot, then wait.
func (t *Table) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.changed
}

// Applied is the newest revision of which all listeners have heard.
func (t *Table) Applied() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.applied
}

// WaitRevision returns when the table has applied that revision, listeners
// included. It fails with kind Timeout or Canceled when ctx is done before.
func (t *Table) WaitRevision(ctx context.Context, revision int64) error {
	for {
		t.mu.Lock()
		applied, changed := t.mu.applied, t.mu.changed
		t.mu.Unlock()
		if applied >= revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			kind := fault.Canceled
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				kind = fault.Timeout
			}
			return fault.Errorf("metadata.Table.WaitRevision", kind, "have revision %d, wait for %d", applied, revision)
		}
	}
}

// Apply takes over what a watch answered, all of it of one revision: parts of the
// whole state when the first has snapshot set, else one change. It refuses what
// is older than what it has (kind Unavailable) and what belongs to another
// cluster (kind Incompatible). It returns when all listeners have.
func (t *Table) Apply(messages ...*controlv1.WatchResponse) error {
	const op = "metadata.Table.Apply"
	if len(messages) == 0 {
		return nil
	}
	t.applying.Lock()
	defer t.applying.Unlock()
	old := t.current.Load()
	last := messages[len(messages)-1]
	for _, m := range messages {
		if err := old.admit(m); err != nil {
			return err
		}
	}
	whole := messages[0].GetSnapshot()
	if !whole && last.GetRevision() <= old.revision {
		return nil // a change that the snapshot had already
	}
	if !whole && old.revision == 0 {
		return fault.Errorf(op, fault.Corrupt, "a change came before the whole state")
	}
	delta := apply(old, messages, whole)
	t.current.Store(delta.New)
	for _, listen := range t.listeners {
		listen(delta)
	}
	t.mu.Lock()
	t.mu.applied = delta.New.revision
	close(t.mu.changed)
	t.mu.changed = make(chan struct{})
	t.mu.Unlock()
	return nil
}

// admit refuses messages that would take the table back in time or elsewhere.
func (s *Snapshot) admit(m *controlv1.WatchResponse) error {
	const op = "metadata.Table.Apply"
	c := m.GetCluster()
	if s.cluster == nil || c == nil {
		return nil
	}
	if c.GetUuid() != s.cluster.GetUuid() {
		return fault.Errorf(op, fault.Incompatible, "the controller belongs to another cluster (%s %s) than this process (%s %s)",
			c.GetName(), c.GetUuid(), s.cluster.GetName(), s.cluster.GetUuid())
	}
	sameHistory := c.GetEtcdClusterId() == s.cluster.GetEtcdClusterId() && c.GetRestoreEpoch() == s.cluster.GetRestoreEpoch()
	if m.GetSnapshot() && sameHistory && m.GetRevision() < s.revision {
		return fault.Errorf(op, fault.Unavailable, "the controller has revision %d, this process has seen %d",
			m.GetRevision(), s.revision)
	}
	return nil
}
