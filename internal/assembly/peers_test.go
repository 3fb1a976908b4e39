// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/mansiomq/mansio/internal/metadata"
	"github.com/mansiomq/mansio/internal/rpc"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/internal/storewire"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// silent is a store that keeps what it is given.
type silent struct{ got chan struct{} }

func (s silent) Submit(ops []*storeapi.Op) {
	for range ops {
		s.got <- struct{}{}
	}
}

// TestPeersOfGoneAddresses: when no node has an address any more, what is under way there is answered, and nobody
// tries to reach it again; when a node has it once more there is a new way.
func TestPeersOfGoneAddresses(t *testing.T) {
	table, dialer := metadata.NewTable(), rpc.NewDialer(rpc.Guard{})
	dialer.Isolate()
	p := newPeers(table, dialer, "proxy", slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		tasks.Wait()
		if err := dialer.Close(); err != nil {
			t.Error(err)
		}
	})
	store := silent{make(chan struct{}, 8)}
	for _, address := range []string{"old:1", "new:1"} {
		listener, err := dialer.Listen(address)
		if err != nil {
			t.Fatal(err)
		}
		server := rpc.NewServer(rpc.ServerOptions{})
		storewire.NewServer(store, slog.New(slog.DiscardHandler)).Register(server)
		tasks.Go(func() { _ = server.Serve(ctx, listener) }) // ends with the test
	}
	tasks.Go(func() { _ = p.run(ctx) }) // as well
	revision := int64(0)
	node := func(address string) *controlv1.Node {
		revision++
		n := &controlv1.Node{Id: 1, Name: "n1", Address: address, Revision: revision}
		if err := table.Apply(&controlv1.WatchResponse{
			Snapshot: revision == 1, Revision: revision, Cluster: &controlv1.Cluster{Uuid: "c"}, Nodes: []*controlv1.Node{n},
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	answers := make(chan storeapi.Reply, 8)
	submit := func(n *controlv1.Node) {
		p.of(n).Submit([]*storeapi.Op{{Shard: 1, Request: &storeapi.Append{}, Done: func(r storeapi.Reply) { answers <- r }}})
		select {
		case <-store.got:
		case <-time.After(10 * time.Second):
			t.Fatal("nothing reaches ", n.GetAddress())
		}
	}
	before := node("old:1")
	submit(before)
	after := node("new:1")
	if r := <-answers; r.Code != storeapi.Unknown {
		t.Errorf("answered %v", r.Code)
	}
	if p.of(before) != nil || len(p.remote) != 0 {
		t.Errorf("%d ways are left, one to the old address: %v", len(p.remote), p.of(before))
	}
	submit(after)
	submit(node("old:1"))
}
