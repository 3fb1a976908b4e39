// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"context"
	"net"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/rpc"
	"github.com/mansiomq/mansio/internal/storewire"
	"github.com/mansiomq/mansio/storenode"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/shard"
)

const (
	// localStore is the address of a store node that only its own process reaches.
	localStore = "store.in-process:1"
	// minFreeBytes and minFreeShare are the free space that is kept by default.
	minFreeBytes = 1 << 30
	minFreeShare = 20
	// segmentBytesMin is the smallest segment: for tests. segmentBytesAll holds the
	// largest message that a proxy takes: its body, its properties, and the entry
	// around them.
	segmentBytesMin = 1 << 20
	segmentBytesAll = 8 << 20
	// ringBytes is the budget of the tail rings of a process.
	ringBytes = 32 << 20
)

// addStoreNode adds the store node and its server.
func (p *process) addStoreNode(ctx context.Context) error {
	c := p.cfg.StoreNode
	address, listeners, err := p.storeListeners(ctx)
	if err != nil {
		return err
	}
	if err := p.data.BindNode(c.Node, 0); err != nil {
		return err
	}
	conns, err := p.controllers()
	if err != nil {
		return err
	}
	if n := c.SegmentBytes; n != 0 && n < segmentBytesAll {
		p.logger.Warn("segments are too small for the largest messages; a larger message is refused",
			"segment_bytes", n, "message_bytes_max", shard.MessageBytesMax(n))
	}
	id := p.data.Identity()
	counts := &shard.Counts{}
	node, err := storenode.New(storenode.Config{
		Name: c.Node, Zone: c.Zone, Address: address, DataUUID: id.Data, Instance: random64(), BootID: bootID(),
		Dirs: append([]string{p.data.Path()}, c.Dirs...), FS: disk.OS{}, Free: disk.OSFree,
		Controllers: conns, Table: p.table, ClusterUUID: id.Cluster, NodeID: ident.Node(id.NodeID),
		Joined: func(cluster string, node ident.Node) error {
			if err := p.data.BindCluster(cluster, p.table.Snapshot().Cluster().GetName()); err != nil {
				return err
			}
			return p.data.BindNode(c.Node, node)
		},
		SegmentBytes: c.SegmentBytes, RingBytes: ringBytes, MinFreeBytes: minFree(c.MinFreeBytes, p.data.Path()),
		RetentionMS: c.Retention.Milliseconds(), RetentionBytes: c.RetentionBytes, Now: time.Now, Logger: p.logger, Counts: counts,
	})
	if err != nil {
		return err
	}
	p.addStoring("store node", func(ctx context.Context, ready func()) error {
		ready()
		return node.Run(ctx)
	})
	wire := storewire.NewServer(node, p.logger)
	options := p.serverOptions()
	options.Drain = func(ctx context.Context) {
		if err := wire.Drain(ctx); err != nil {
			p.logger.Warn("proxies did not end their streams in time", "error", err)
		}
	}
	server := rpc.NewServer(options)
	node.Register(server)
	wire.Register(server)
	p.serve("store server", server, listeners...)
	p.peers.local, p.peers.localAt = node, address
	p.ready.Add("store", node.Ready)
	p.alive.Add("store", node.Alive)
	p.clean = node.Clean
	return observeStore(p.cfg.Telemetry.Meter(), counts)
}

// storeListeners binds the node's address; in standalone there is none but the
// one inside the process.
func (p *process) storeListeners(ctx context.Context) (address string, all []net.Listener, err error) {
	c := p.cfg.StoreNode
	address = localStore
	if c.Listen != "" {
		l, err := listenOn(ctx, "--listen", c.Listen)
		if err != nil {
			return "", nil, err
		}
		all = append(all, l)
		address = advertised(c.Advertise, l)
		p.where.Store = l.Addr().String()
	}
	l, err := p.dialer.Listen(address)
	if err != nil {
		return "", nil, err
	}
	return address, append(all, l), nil
}

func minFree(configured int64, dir string) int64 {
	if configured > 0 {
		return configured
	}
	_, total, err := disk.OSFree(dir)
	if err != nil {
		return minFreeBytes
	}
	return max(minFreeBytes, total/minFreeShare)
}

// bootID names this boot of the machine; zero when the system does not tell.
func bootID() [16]byte {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return [16]byte{}
	}
	id, err := uuid.Parse(strings.TrimSpace(string(text)))
	if err != nil {
		return [16]byte{}
	}
	return id
}
