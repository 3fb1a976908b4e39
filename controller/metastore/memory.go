// SPDX-License-Identifier: Apache-2.0

package metastore

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mansiomq/mansio/internal/fault"
)

// memoryID is the cluster id of every Memory.
const memoryID = 0x6d656d6f7279

// Memory is a Store that forgets everything when the process ends.
type Memory struct {
	mu struct {
		sync.Mutex
		entries   map[string]Entry
		revision  int64
		history   []Batch       // every commit since the last compaction
		compacted int64         // history up to and including this revision is gone
		changed   chan struct{} // closed at the next commit
	}
}

var _ Store = (*Memory)(nil)

// NewMemory makes an empty store of revision 1, like a new etcd.
func NewMemory() *Memory {
	m := &Memory{}
	m.mu.entries = make(map[string]Entry)
	m.mu.revision = 1
	m.mu.changed = make(chan struct{})
	return m
}

// Get implements Store.
func (m *Memory) Get(_ context.Context, key string) (Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry, ok := m.mu.entries[key]
	if !ok {
		return Entry{Key: key}, nil
	}
	entry.Value = slices.Clone(entry.Value)
	return entry, nil
}

// List implements Store.
func (m *Memory) List(_ context.Context, request ListRequest) (Listing, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	listing := Listing{Revision: m.mu.revision, ClusterID: memoryID}
	for _, key := range slices.Sorted(maps.Keys(m.mu.entries)) {
		if !strings.HasPrefix(key, request.Prefix) || key <= request.After {
			continue
		}
		if request.Limit > 0 && len(listing.Entries) == request.Limit {
			listing.More = true
			break
		}
		entry := m.mu.entries[key]
		entry.Value = slices.Clone(entry.Value)
		listing.Entries = append(listing.Entries, entry)
	}
	return listing, nil
}

// Commit implements Store.
func (m *Memory) Commit(_ context.Context, txn Txn) (int64, error) {
	const op = "metastore.Commit"
	if err := txn.check(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, cond := range txn.Conds {
		if m.mu.entries[cond.Key].Revision != cond.Revision {
			return 0, fault.Errorf(op, fault.Conflict, "%s changed meanwhile", cond.Key)
		}
	}
	batch := Batch{Revision: m.mu.revision + 1}
	for _, put := range txn.Puts {
		entry := Entry{Key: put.Key, Value: slices.Clone(put.Value), Revision: batch.Revision}
		m.mu.entries[put.Key] = entry
		batch.Changes = append(batch.Changes, Change{Entry: entry})
	}
	for _, key := range txn.Deletes {
		if _, ok := m.mu.entries[key]; !ok {
			continue
		}
		delete(m.mu.entries, key)
		batch.Changes = append(batch.Changes, Change{Entry: Entry{Key: key, Revision: batch.Revision}, Deleted: true})
	}
	if len(batch.Changes) == 0 {
		return m.mu.revision, nil
	}
	m.mu.revision = batch.Revision
	m.mu.history = append(m.mu.history, batch)
	close(m.mu.changed)
	m.mu.changed = make(chan struct{})
	return batch.Revision, nil
}

// Watch implements Store.
func (m *Memory) Watch(ctx context.Context, prefix string, from int64, handle func(Batch) error) error {
	for {
		batches, changed, err := m.since(from)
		if err != nil {
			return err
		}
		for _, batch := range batches {
			from = batch.Revision + 1
			batch.Changes = slices.DeleteFunc(batch.Changes, func(c Change) bool { return !strings.HasPrefix(c.Key, prefix) })
			if len(batch.Changes) == 0 {
				continue
			}
			if err := handle(batch); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fault.E("metastore.Watch", fault.Canceled, ctx.Err())
		case <-changed:
		}
	}
}

// since returns copies of the commits from that revision on.
func (m *Memory) since(from int64) (batches []Batch, changed <-chan struct{}, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if from <= m.mu.compacted {
		return nil, nil, fault.E("metastore.Watch", fault.NotFound, ErrCompacted)
	}
	for _, batch := range m.mu.history {
		if batch.Revision >= from {
			batch.Changes = slices.Clone(batch.Changes)
			batches = append(batches, batch)
		}
	}
	return batches, m.mu.changed, nil
}

// Compact forgets the history up to and including that revision. Watches that
// are behind it fail with ErrCompacted when they come to it.
func (m *Memory) Compact(_ context.Context, revision int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.compacted = revision
	m.mu.history = slices.DeleteFunc(m.mu.history, func(b Batch) bool { return b.Revision <= revision })
	close(m.mu.changed)
	m.mu.changed = make(chan struct{})
	return nil
}

// check refuses transactions that no store can take.
func (t Txn) check() error {
	const op = "metastore.Commit"
	changed := make(map[string]bool, len(t.Puts)+len(t.Deletes))
	for _, put := range t.Puts {
		if changed[put.Key] {
			return fault.Errorf(op, fault.Internal, "%s is changed twice", put.Key)
		}
		changed[put.Key] = true
	}
	for _, key := range t.Deletes {
		if changed[key] {
			return fault.Errorf(op, fault.Internal, "%s is changed twice", key)
		}
		changed[key] = true
	}
	if n := len(t.Puts) + len(t.Deletes); n > TxnOpsMax || len(t.Conds) > TxnOpsMax {
		return fault.Errorf(op, fault.Internal, "%d changes, %d conditions: at most %d", n, len(t.Conds), TxnOpsMax)
	}
	return nil
}

// creates reports whether the transaction may make an entry that is not there.
func (t Txn) creates() bool {
	present := make(map[string]bool, len(t.Conds))
	for _, cond := range t.Conds {
		present[cond.Key] = cond.Revision != 0
	}
	return slices.ContainsFunc(t.Puts, func(put Put) bool { return !present[put.Key] })
}
