// SPDX-License-Identifier: Apache-2.0

package metastore

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// Book is the store in the hands of one controller: objects instead of bytes, ids
// from the counters, and every commit under the conditions that say that this
// controller still leads. Safe for concurrent use.
type Book struct {
	Keys Keys

	store Store
	// reign are conditions of every commit; when they fail, another controller leads.
	reign []Cond

	mu struct {
		sync.Mutex                // held while a commit that takes ids is under way
		ids        *controlv1.Ids // guarded; nil: to be read
		revision   int64          // guarded; of ids
	}
}

// NewBook makes a book over a store; reign may be empty.
func NewBook(store Store, keys Keys, reign ...Cond) *Book {
	return &Book{Keys: keys, store: store, reign: reign}
}

// Store is what the book is kept in.
func (b *Book) Store() Store { return b.store }

// Draft collects the changes of one commit.
type Draft struct {
	txn Txn
	err error
}

// Expect makes the commit depend on the key's revision; 0 = absent.
func (d *Draft) Expect(key string, revision int64) {
	d.txn.Conds = append(d.txn.Conds, Cond{Key: key, Revision: revision})
}

// Put writes the object under the key.
func (d *Draft) Put(key string, object proto.Message) {
	value, err := Encode(object)
	if err != nil && d.err == nil {
		d.err = err
	}
	d.txn.Puts = append(d.txn.Puts, Put{Key: key, Value: value})
}

// Delete removes the key; an absent one is no error.
func (d *Draft) Delete(key string) { d.txn.Deletes = append(d.txn.Deletes, key) }

// Read reads one object. The result is its revision, 0 when it is absent; the
// object's own field revision is filled.
func (b *Book) Read(ctx context.Context, key string, object proto.Message) (int64, error) {
	entry, err := b.store.Get(ctx, key)
	if err != nil || entry.Revision == 0 {
		return 0, err
	}
	return entry.Revision, Decode(entry, object)
}

// Commit makes the changes, or fails with kind Conflict.
func (b *Book) Commit(ctx context.Context, draft *Draft) (int64, error) {
	if draft.err != nil {
		return 0, draft.err
	}
	txn := draft.txn
	txn.Conds = append(slices.Clip(txn.Conds), b.reign...)
	return b.store.Commit(ctx, txn)
}

// CommitWithIDs lets fill take ids from the counters and describe the changes that
// use them, and commits both together: an id that was handed out is never handed
// out again, and one whose commit failed was never used. It fails with kind
// Conflict like Commit; then fill is to be called with fresh knowledge.
func (b *Book) CommitWithIDs(ctx context.Context, fill func(ids *Counters, draft *Draft) error) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.loadIDs(ctx); err != nil {
		return 0, err
	}
	counters := &Counters{ids: proto.CloneOf(b.mu.ids)}
	draft := &Draft{}
	if err := fill(counters, draft); err != nil {
		return 0, err
	}
	draft.Expect(b.Keys.Ids(), b.mu.revision)
	draft.Put(b.Keys.Ids(), counters.ids)
	revision, err := b.Commit(ctx, draft)
	if err != nil {
		b.mu.ids = nil // lost, or unknown: read again
		return 0, err
	}
	b.mu.ids, b.mu.revision = counters.ids, revision
	return revision, nil
}

// LastIDs returns how far the counters are.
func (b *Book) LastIDs(ctx context.Context) (*controlv1.Ids, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.loadIDs(ctx); err != nil {
		return nil, err
	}
	return proto.CloneOf(b.mu.ids), nil
}

func (b *Book) loadIDs(ctx context.Context) error {
	if b.mu.ids != nil {
		return nil
	}
	ids := &controlv1.Ids{}
	revision, err := b.Read(ctx, b.Keys.Ids(), ids)
	if err != nil {
		return err
	}
	if revision == 0 {
		return fault.Errorf("read metadata", fault.Corrupt, "the counters under %s are gone: restore etcd from a backup", b.Keys.Ids())
	}
	b.mu.ids, b.mu.revision = ids, revision
	return nil
}

// Counters hands out ids within one commit.
type Counters struct{ ids *controlv1.Ids }

// Object returns a new id for a topic, a group or a node.
func (c *Counters) Object() uint64 {
	c.ids.Object++
	return c.ids.GetObject()
}

// Shard returns a new id for a shard.
func (c *Counters) Shard() ident.Shard {
	c.ids.Shard++
	return ident.Shard(c.ids.GetShard())
}

// Incarnation returns a number for one attempt to create a replica.
func (c *Counters) Incarnation() uint64 {
	c.ids.Incarnation++
	return c.ids.GetIncarnation()
}
