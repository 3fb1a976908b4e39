// SPDX-License-Identifier: Apache-2.0

package metastore

import (
	"context"
	"errors"
)

// ErrCompacted is what Watch returns when the history it asks for is gone.
var ErrCompacted = errors.New("the history before that revision is gone")

// Store holds entries. Implementations are safe for concurrent use. Errors are of
// package fault; kinds Timeout and Unavailable leave the outcome of a Commit
// unknown.
type Store interface {
	// Get reads one entry, linearizably. An absent one has revision 0.
	Get(ctx context.Context, key string) (Entry, error)
	// List reads the entries under a prefix, all of one revision, in order of
	// keys.
	List(ctx context.Context, request ListRequest) (Listing, error)
	// Commit makes all changes of the transaction at one revision, durably, or
	// fails with kind Conflict when a condition does not hold.
	Commit(ctx context.Context, txn Txn) (revision int64, err error)
	// Watch calls handle with every commit under the prefix from that revision
	// on, in order, until ctx is done, handle fails, or the store does.
	Watch(ctx context.Context, prefix string, from int64, handle func(Batch) error) error
}

// Entry is what stands under a key.
type Entry struct {
	Key      string
	Value    []byte
	Revision int64 // of the last change; 0 = absent
}

// ListRequest says what to list.
type ListRequest struct {
	Prefix string
	After  string // only keys behind this one; "" = from the first
	Limit  int    // at most so many entries; 0 = all
}

// Listing is an answer of List.
type Listing struct {
	Entries   []Entry
	Revision  int64  // of the store
	ClusterID uint64 // of the store: another one has other revisions
	More      bool   // the limit cut it short
}

// Cond is a condition: the key's entry has this revision; 0 = there is none.
type Cond struct {
	Key      string
	Revision int64
}

// Put is a new value of a key.
type Put struct {
	Key   string
	Value []byte
}

// Txn is a set of changes under conditions. A key may be changed once.
type Txn struct {
	Conds   []Cond
	Puts    []Put
	Deletes []string
}

// Change is a changed entry; Deleted ones have no value.
type Change struct {
	Entry
	Deleted bool
}

// Batch is one commit's changes under a watched prefix.
type Batch struct {
	Revision int64
	Changes  []Change
}
