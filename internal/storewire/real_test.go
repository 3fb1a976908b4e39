// SPDX-License-Identifier: Apache-2.0

package storewire_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mansiomq/mansio/internal/assembly"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/internal/storewire"
	"github.com/mansiomq/mansio/internal/storewire/peertest"
	"github.com/mansiomq/mansio/internal/telemetry"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// TestConformanceOfStoreNode runs the suite over a real store node, with a real
// disk, through real sockets.
func TestConformanceOfStoreNode(t *testing.T) {
	at := runCluster(t)
	store, control := dial(t, at.Store), dial(t, at.Controller)
	peer := storewire.NewPeer(store, storewire.PeerOptions{Proxy: "suite", Incarnation: 4, Logger: quiet})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- peer.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var number atomic.Uint64
	peertest.Run(t, func(t *testing.T) *peertest.Env {
		n := number.Add(1)
		admin, metadata := controlv1.NewAdminClient(control), controlv1.NewMetadataClient(control)
		topic, err := admin.CreateTopic(t.Context(), &controlv1.CreateTopicRequest{
			Topic: &controlv1.Topic{Name: fmt.Sprintf("topic-%d", n), Type: controlv1.TopicType_TOPIC_TYPE_NORMAL}, Queues: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		group, err := metadata.EnsureGroup(t.Context(), &controlv1.EnsureGroupRequest{Name: fmt.Sprintf("group-%d", n), Topic: topic.GetTopic().GetName()})
		if err != nil {
			t.Fatal(err)
		}
		shard := ident.Shard(topic.GetTopic().GetQueues()[0].GetShard())
		a := make(answers, 1)
		until(t, "the shard has a leader", func() bool {
			a.submit(peer, &storeapi.Offsets{Topic: ident.Topic(topic.GetTopic().GetId())}, time.Time{})
			return a.next(t).Code != storeapi.NotLeader
		})
		return &peertest.Env{
			Peer: peer, Shard: shard,
			Topic: ident.Topic(topic.GetTopic().GetId()), TopicRevision: topic.GetTopic().GetRevision(),
			Group: ident.Group(group.GetGroup().GetId()), GroupRevision: group.GetGroup().GetRevision(),
			Proxy: 1000 + n,
		}
	})
}

func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// runCluster runs a controller and a store node in this process, on ports of
// their own.
func runCluster(t *testing.T) assembly.Addresses {
	t.Helper()
	tel, err := telemetry.New(t.Context(), telemetry.Config{Role: "test", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	started := make(chan assembly.Addresses, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- assembly.Run(ctx, assembly.Config{
			Name: "test", Data: dir, Logger: quiet, Telemetry: tel,
			Controller: &assembly.Controller{Listen: "127.0.0.1:0", Cluster: "test", ShardsPerNode: 1, Embedded: true, AutoCreateGroups: true},
			StoreNode:  &assembly.StoreNode{Listen: "127.0.0.1:0", Node: "test", SegmentBytes: 32 << 20, MinFreeBytes: 1, Retention: time.Hour},
			Started:    func(at assembly.Addresses) { started <- at },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := tel.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	select {
	case at := <-started:
		return at
	case err := <-ended:
		ended <- err
		t.Fatalf("the cluster ended: %v", err)
		return assembly.Addresses{}
	}
}
