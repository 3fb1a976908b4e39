// SPDX-License-Identifier: Apache-2.0

package storenode

import (
	"strings"
	"testing"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/metadata"
	replicav1 "github.com/mansiomq/mansio/proto/mansio/replica/v1"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/replica"
)

// corrupt spoils the log's first entry and drops the checkpoints that stand for it.
func corrupt(t *testing.T, fs disk.FS, dir string) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		name = dir + "/" + name
		switch {
		case strings.Contains(name, "ckpt-"):
			if err := fs.Remove(name); err != nil {
				t.Fatal(err)
			}
		case strings.HasSuffix(name, ".log"):
			b, err := disk.ReadFile(fs, name)
			if err != nil {
				t.Fatal(err)
			}
			b[4096+40] ^= 1
			if err := disk.Replace(fs, name, b); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAcceptLossBringsAFailedReplicaBack(t *testing.T) {
	fs, c := disk.NewMemory(), newController()
	cfg := config(t, fs, c, 11)
	h := start(t, cfg)
	h.joined(c)
	if _, err := h.Create(t.Context(), &replicav1.CreateRequest{Shard: 1, Incarnation: 5}); err != nil {
		t.Fatal(err)
	}
	fence(t, h, 1, 1, 5)
	if why := lead(t, h, state(1, 5, 11)); why != "" {
		t.Fatal(why)
	}
	give := &replicav1.AcceptLossRequest{Shard: 1, Incarnation: 5, From: 8}
	if _, err := h.AcceptLoss(t.Context(), give); !fault.Is(err, fault.Invalid) {
		t.Fatalf("gave up a part of a healthy log: %v", err)
	}
	h.stop(t)
	corrupt(t, fs, "a/store/shard-000001")

	cfg.Instance, cfg.ClusterUUID, cfg.NodeID, cfg.Table = 12, "cluster", 7, metadata.NewTable()
	h = start(t, cfg)
	defer h.stop(t)
	if r := fence(t, h, 1, 2, 5); !strings.Contains(r.GetRefusal(), "log corrupt at LSN 8") {
		t.Fatalf("a corrupt log was not noticed: %v", r)
	}
	for h.find(ident.Shard(1)).status().Role != replica.Failed {
		<-c.reports
	}
	if _, err := h.AcceptLoss(t.Context(), &replicav1.AcceptLossRequest{Shard: 1, Incarnation: 6, From: 8}); !fault.Is(err, fault.NotFound) {
		t.Fatalf("another incarnation: %v", err)
	}
	if _, err := h.AcceptLoss(t.Context(), &replicav1.AcceptLossRequest{Shard: 1, Incarnation: 5, From: 16}); !fault.Is(err, fault.Invalid) {
		t.Fatalf("from the middle of an entry: %v", err)
	}
	for h.find(ident.Shard(1)).status().Role != replica.Failed {
		<-c.reports
	}
	if r, err := h.AcceptLoss(t.Context(), give); err != nil || r.GetFrom() != 8 || r.GetTo() < 8 {
		t.Fatalf("%v, %v", r, err)
	}
	if r := fence(t, h, 1, 2, 5); r.GetRefusal() != "" || r.GetEnd() != 8 {
		t.Fatalf("after the loss was accepted: %v", r)
	}
}
