// SPDX-License-Identifier: Apache-2.0

package metastore

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mansiomq/mansio/internal/fault"
)

const (
	// TxnOpsMax bounds the changes of one transaction; it is etcd's default bound.
	TxnOpsMax = 128
	// callMax bounds one call to etcd, so that nobody waits for a dead one for ever.
	callMax = 5 * time.Second
	// pageMax is how many entries one call reads: answers stay far below gRPC's bound.
	pageMax = 2000
)

// Etcd is a Store in etcd. The client belongs to the caller.
type Etcd struct {
	client *clientv3.Client
	room   func(creates bool) error
}

var _ Store = (*Etcd)(nil)

// NewEtcd makes a store over a client, of an embedded or an external etcd.
func NewEtcd(client *clientv3.Client) *Etcd {
	return &Etcd{client: client, room: func(bool) error { return nil }}
}

// NewGuarded makes a store that asks room before each commit whether there is
// space for it; creates tells commits that make new entries.
func NewGuarded(client *clientv3.Client, room func(creates bool) error) *Etcd {
	return &Etcd{client: client, room: room}
}

// Get implements Store.
func (e *Etcd) Get(ctx context.Context, key string) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, callMax)
	defer cancel()
	response, err := e.client.Get(ctx, key)
	if err != nil {
		return Entry{}, etcdFault("metastore.Get", err)
	}
	if len(response.Kvs) == 0 {
		return Entry{Key: key}, nil
	}
	return entryOf(response.Kvs[0]), nil
}

// List implements Store. It reads in pages, all of the revision of the first.
func (e *Etcd) List(ctx context.Context, request ListRequest) (Listing, error) {
	from := request.Prefix
	if request.After >= from {
		from = request.After + "\x00"
	}
	listing := Listing{More: true}
	for listing.More && (request.Limit == 0 || len(listing.Entries) < request.Limit) {
		limit := pageMax
		if request.Limit > 0 {
			limit = min(limit, request.Limit-len(listing.Entries))
		}
		response, err := e.page(ctx, from, clientv3.GetPrefixRangeEnd(request.Prefix),
			clientv3.WithLimit(int64(limit)), clientv3.WithRev(listing.Revision))
		if err != nil {
			return Listing{}, err
		}
		if listing.Revision == 0 {
			listing.Revision, listing.ClusterID = response.Header.GetRevision(), response.Header.GetClusterId()
		}
		listing.More = response.More
		for _, kv := range response.Kvs {
			listing.Entries = append(listing.Entries, entryOf(kv))
			from = string(kv.GetKey()) + "\x00"
		}
	}
	return listing, nil
}

func (e *Etcd) page(ctx context.Context, from, end string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callMax)
	defer cancel()
	response, err := e.client.Get(ctx, from, append(options, clientv3.WithRange(end))...)
	if err != nil {
		return nil, etcdFault("metastore.List", err)
	}
	return response, nil
}

// Commit implements Store.
func (e *Etcd) Commit(ctx context.Context, txn Txn) (int64, error) {
	const op = "metastore.Commit"
	if err := txn.check(); err != nil {
		return 0, err
	}
	if err := e.room(txn.creates()); err != nil {
		return 0, fault.E(op, fault.Other, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callMax)
	defer cancel()
	conds := make([]clientv3.Cmp, 0, len(txn.Conds))
	for _, cond := range txn.Conds {
		conds = append(conds, clientv3.Compare(clientv3.ModRevision(cond.Key), "=", cond.Revision))
	}
	changes := make([]clientv3.Op, 0, len(txn.Puts)+len(txn.Deletes))
	for _, put := range txn.Puts {
		changes = append(changes, clientv3.OpPut(put.Key, string(put.Value)))
	}
	for _, key := range txn.Deletes {
		changes = append(changes, clientv3.OpDelete(key))
	}
	response, err := e.client.Txn(ctx).If(conds...).Then(changes...).Commit()
	if err != nil {
		return 0, etcdFault(op, err)
	}
	if !response.Succeeded {
		return 0, fault.Errorf(op, fault.Conflict, "the metadata changed meanwhile")
	}
	return response.Header.GetRevision(), nil
}

// Watch implements Store.
func (e *Etcd) Watch(ctx context.Context, prefix string, from int64, handle func(Batch) error) error {
	const op = "metastore.Watch"
	ctx, cancel := context.WithCancel(ctx) // frees the watch when handle fails
	defer cancel()
	// Without WithRequireLeader a watch on a member that lost its cluster would stay silent for ever.
	responses := e.client.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(), clientv3.WithRev(from))
	for response := range responses {
		if response.CompactRevision != 0 {
			return fault.E(op, fault.NotFound, ErrCompacted)
		}
		if err := response.Err(); err != nil {
			return etcdFault(op, err)
		}
		for _, batch := range batchesOf(response.Events) {
			if err := handle(batch); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return fault.E(op, fault.Canceled, ctx.Err())
	}
	return fault.Errorf(op, fault.Unavailable, "etcd ended the watch")
}

// batchesOf groups events by revision; etcd never tears one revision apart.
func batchesOf(events []*clientv3.Event) []Batch {
	var batches []Batch
	for _, event := range events {
		entry := entryOf(event.GetKv())
		if n := len(batches); n == 0 || batches[n-1].Revision != entry.Revision {
			batches = append(batches, Batch{Revision: entry.Revision})
		}
		last := &batches[len(batches)-1]
		last.Changes = append(last.Changes, Change{Entry: entry, Deleted: event.GetType() == clientv3.EventTypeDelete})
	}
	return batches
}

func entryOf(kv *mvccpb.KeyValue) Entry {
	return Entry{Key: string(kv.GetKey()), Value: kv.GetValue(), Revision: kv.GetModRevision()}
}

// etcdFault gives an error of etcd its kind, and its remedy where there is one.
func etcdFault(op string, err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return fault.E(op, fault.NotFound, ErrCompacted)
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fault.Errorf(op, fault.DiskFull, "etcd is full: compact and defragment it, then disarm its alarm: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Errorf(op, fault.Timeout, "etcd does not answer: %w", err)
	case errors.Is(err, context.Canceled):
		return fault.E(op, fault.Canceled, err)
	}
	switch status.Code(err) {
	case codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument:
		return fault.Errorf(op, fault.Denied, "etcd refuses: %w", err)
	case codes.DeadlineExceeded:
		return fault.Errorf(op, fault.Timeout, "etcd does not answer: %w", err)
	default:
		return fault.Errorf(op, fault.Unavailable, "etcd: %w", err)
	}
}
