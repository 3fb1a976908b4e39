// SPDX-License-Identifier: Apache-2.0

package storewire_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mansiomq/mansio/internal/storewire"
	"github.com/mansiomq/mansio/internal/storewire/peertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// wire is a server and a peer with a connection in memory between them.
type wire struct {
	t      testing.TB
	target storewire.Target
	server *storewire.Server
	grpc   *grpc.Server
	conn   *grpc.ClientConn
	peer   *storewire.Peer

	listeners chan *bufconn.Listener // the newest one
}

// connect starts a server in front of target and a running peer.
func connect(t testing.TB, target storewire.Target) *wire {
	w := &wire{t: t, target: target, listeners: make(chan *bufconn.Listener, 1)}
	w.serve()
	conn, err := grpc.NewClient("passthrough:store",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: time.Millisecond, Multiplier: 2, MaxDelay: 10 * time.Millisecond}, MinConnectTimeout: time.Second}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			l := <-w.listeners
			w.listeners <- l
			return l.DialContext(ctx)
		}))
	if err != nil {
		t.Fatal(err)
	}
	w.conn = conn
	t.Cleanup(func() {
		_ = conn.Close()
		w.grpc.Stop()
	})
	w.peer = w.join()
	return w
}

// join runs one more peer over the connection.
func (w *wire) join() *storewire.Peer {
	peer := storewire.NewPeer(w.conn, storewire.PeerOptions{Proxy: "proxy", Incarnation: 4, Logger: quiet})
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- peer.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("peer: %v", err)
		}
	})
	return peer
}

// serve starts a new server; peers that dial from now on meet it.
func (w *wire) serve() {
	l := bufconn.Listen(1 << 20)
	w.grpc = grpc.NewServer()
	w.server = storewire.NewServer(w.target, quiet)
	w.server.Register(w.grpc)
	select {
	case <-w.listeners:
	default:
	}
	w.listeners <- l
	go func() { _ = w.grpc.Serve(l) }()
}

// until waits for a condition that another goroutine brings about.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	limit := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(limit) {
			t.Fatalf("still not: %s", what)
		}
		<-tick.C
	}
}

// TestConformance runs the suite over two streams.
func TestConformance(t *testing.T) {
	peertest.Run(t, func(t *testing.T) *peertest.Env {
		w := connect(t, peertest.NewStore())
		return &peertest.Env{Peer: w.peer, Shard: 1, Topic: 2, Group: 3, Proxy: 4}
	})
}
