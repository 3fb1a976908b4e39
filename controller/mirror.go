// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/metadata"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

const (
	// resyncEvery is when everything is read again, whatever the watch delivered.
	resyncEvery = 10 * time.Minute
	// rewatchAfter is the pause after a watch that failed.
	rewatchAfter = 200 * time.Millisecond
)

// mirror keeps the controller's table equal to the store.
type mirror struct {
	book  *metastore.Book
	table *metadata.Table
	log   *slog.Logger
	// etcdID is the id of the store's cluster, known after load.
	etcdID uint64
}

// load reads everything, as of one revision.
func (m *mirror) load(ctx context.Context) error {
	listing, err := m.book.Store().List(ctx, metastore.ListRequest{Prefix: m.book.Keys.All()})
	if err != nil {
		return err
	}
	m.etcdID = listing.ClusterID
	state := &controlv1.WatchResponse{Snapshot: true, Revision: listing.Revision}
	for _, entry := range listing.Entries {
		if err := m.book.Keys.Add(state, entry); err != nil {
			return err
		}
	}
	if state.GetCluster() == nil {
		return fault.Errorf("read metadata", fault.Corrupt, "%s is gone: restore etcd from a backup", m.book.Keys.Cluster())
	}
	state.Cluster.EtcdClusterId = m.etcdID
	return m.table.Apply(state)
}

// follow applies every change until ctx is done. A watch that fails, or whose
// history was compacted away, is followed by a new load; so is one that worked
// for long enough.
func (m *mirror) follow(ctx context.Context) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
		err := m.watch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = m.load(ctx)
		}
		if fault.Is(err, fault.Corrupt) {
			return err
		}
		if err != nil {
			m.log.WarnContext(ctx, "the metadata are not followed; trying again", "error", err)
		}
		pause.Reset(rewatchAfter)
	}
}

// watch applies changes for a while; nil means that it is time to read everything.
func (m *mirror) watch(parent context.Context) error {
	ctx, cancel := context.WithTimeout(parent, resyncEvery)
	defer cancel()
	err := m.book.Store().Watch(ctx, m.book.Keys.All(), m.table.Snapshot().Revision()+1, m.apply)
	if errors.Is(err, metastore.ErrCompacted) || ctx.Err() != nil {
		return nil
	}
	return err
}

// apply takes over one commit.
func (m *mirror) apply(batch metastore.Batch) error {
	change := &controlv1.WatchResponse{Revision: batch.Revision}
	for _, c := range batch.Changes {
		var err error
		if c.Deleted {
			err = m.forget(change, c.Key)
		} else {
			err = m.book.Keys.Add(change, c.Entry)
		}
		if err != nil {
			return err
		}
	}
	if change.GetCluster() != nil {
		change.Cluster.EtcdClusterId = m.etcdID
	}
	return m.table.Apply(change)
}

// forget adds the deletion of a key to the change.
func (m *mirror) forget(change *controlv1.WatchResponse, key string) error {
	snapshot := m.table.Snapshot()
	switch kind, name := m.book.Keys.Split(key); kind {
	case "topics":
		if topic := snapshot.TopicByName(name); topic != nil {
			change.DeletedTopics = append(change.DeletedTopics, topic.GetId())
		}
	case "groups":
		if group := snapshot.GroupByName(name); group != nil {
			change.DeletedGroups = append(change.DeletedGroups, group.GetId())
		}
	case "nodes":
		if node := nodeByName(snapshot, name); node != nil {
			change.DeletedNodes = append(change.DeletedNodes, node.GetId())
		}
	case "starts":
		group, topic, err := metastore.ParseStart(name)
		if err != nil {
			return err
		}
		change.DeletedStarts = append(change.DeletedStarts, &controlv1.Start{Group: uint64(group), Topic: uint64(topic)})
	case "shards":
		var id ident.Shard
		id, err := metastore.ParseShard(name)
		if err != nil {
			return err
		}
		change.DeletedShards = append(change.DeletedShards, uint32(id))
	case "cluster":
		return fault.Errorf("read metadata", fault.Corrupt, "somebody deleted %s: restore etcd from a backup", key)
	default:
	}
	return nil
}

// nodeByName returns the node of that name, or nil; there are few of them.
func nodeByName(snapshot *metadata.Snapshot, name string) *controlv1.Node {
	for node := range snapshot.Nodes() {
		if node.GetName() == name {
			return node
		}
	}
	return nil
}
