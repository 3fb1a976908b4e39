// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"crypto/rand"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/internal/fault"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// handleKeyBytes is the length of the secret that signs receipt handles.
const handleKeyBytes = 32

// bootstrap makes sure that etcd holds this cluster, makes it when etcd is empty
// and this folder never belonged to one, and binds the folder to it.
func (r *reign) bootstrap(ctx context.Context) error {
	const op = "read metadata"
	key := r.book.Keys.Cluster()
	cluster := &controlv1.Cluster{}
	revision, err := r.book.Read(ctx, key, cluster)
	if err != nil {
		return err
	}
	bound := ""
	if r.config.Data != nil {
		bound = r.config.Data.Identity().Cluster
	}
	switch {
	case revision == 0 && bound != "":
		return lostCluster(r.config.Data.Path(), bound)
	case revision == 0:
		cluster, err = r.found(ctx)
	case bound != "" && bound != cluster.GetUuid():
		return fault.Errorf(op, fault.Incompatible,
			"the data folder %s belongs to cluster %s, but etcd holds cluster %s (%s): connect to the right etcd, or choose another --data",
			r.config.Data.Path(), bound, cluster.GetUuid(), cluster.GetName())
	default:
		err = r.configure(ctx, cluster, revision)
	}
	if err != nil || r.config.Data == nil {
		return err
	}
	return r.config.Data.BindCluster(cluster.GetUuid(), cluster.GetName())
}

// lostCluster is the error of a folder whose cluster is not in etcd any more.
func lostCluster(path, cluster string) error {
	return fault.Errorf("read metadata", fault.Incompatible,
		"the data folder %s belongs to cluster %s, but etcd holds nothing of it: restore etcd from a backup, or connect to the right one",
		path, cluster)
}

// found makes a new cluster.
func (r *reign) found(ctx context.Context) (*controlv1.Cluster, error) {
	secret := make([]byte, handleKeyBytes)
	_, _ = rand.Read(secret) // never fails
	cluster := &controlv1.Cluster{
		Uuid: uuid.NewString(), Name: r.config.Cluster,
		HandleKeys:       []*controlv1.HandleKey{{Id: 1, Secret: secret}},
		AutoCreateTopics: r.config.AutoCreateTopics, AutoCreateGroups: r.config.AutoCreateGroups,
		CreatedMs: r.config.Now().UnixMilli(),
	}
	draft := &metastore.Draft{}
	draft.Expect(r.book.Keys.Cluster(), 0)
	draft.Expect(r.book.Keys.Ids(), 0)
	draft.Put(r.book.Keys.Cluster(), cluster)
	draft.Put(r.book.Keys.Ids(), &controlv1.Ids{})
	if _, err := r.book.Commit(ctx, draft); err != nil {
		return nil, err
	}
	r.log.InfoContext(ctx, "made a new cluster", "uuid", cluster.GetUuid())
	return cluster, nil
}

// configure writes what this controller's configuration decides for everybody.
func (r *reign) configure(ctx context.Context, cluster *controlv1.Cluster, revision int64) error {
	wanted := proto.CloneOf(cluster)
	wanted.AutoCreateTopics, wanted.AutoCreateGroups = r.config.AutoCreateTopics, r.config.AutoCreateGroups
	if proto.Equal(wanted, cluster) {
		return nil
	}
	draft := &metastore.Draft{}
	draft.Expect(r.book.Keys.Cluster(), revision)
	draft.Put(r.book.Keys.Cluster(), wanted)
	_, err := r.book.Commit(ctx, draft)
	return err
}
