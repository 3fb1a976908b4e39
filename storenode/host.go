// SPDX-License-Identifier: Apache-2.0

package storenode

import (
	"cmp"
	"errors"
	"fmt"
	iofs "io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/metadata"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/shard"
)

const shardPrefix = "shard-"

// hosted is a replica on this node. A replica that could not be opened has no
// shard and says why.
type hosted struct {
	id      ident.Shard
	dir     string
	shard   *shard.Shard
	failure string
	quit    chan struct{} // closed to end the shard's run
	ended   chan struct{} // closed when the run is over
	// turned is when the shard's owner last took a turn; nil while it does not run.
	turned atomic.Pointer[time.Time]
}

func newHosted(id ident.Shard, dir string) *hosted {
	return &hosted{id: id, dir: dir, quit: make(chan struct{}), ended: make(chan struct{})}
}

func shardDir(dir string, id ident.Shard) string {
	return filepath.Join(dir, "store", fmt.Sprintf("%s%06d", shardPrefix, id))
}

// openAll opens what lies in the data directories.
func (n *Node) openAll() error {
	var all []*hosted
	for _, dir := range n.o.Dirs {
		store := filepath.Join(dir, "store")
		names, err := n.o.FS.List(store)
		if err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return fault.E("open data directory "+dir, fault.Internal, err)
		}
		for _, name := range names {
			number, ok := strings.CutPrefix(name, shardPrefix)
			if !ok {
				continue
			}
			id, err := strconv.ParseUint(number, 10, 32)
			if err != nil {
				continue
			}
			h := n.open(n.options(ident.Shard(id), filepath.Join(store, name)))
			if h == nil {
				continue
			}
			if twin := n.mu.shards[h.id]; twin != nil {
				return fault.Errorf("open data directory", fault.Invalid, "shard %d lies in both %s and %s: move one of them away", h.id, twin.dir, h.dir)
			}
			n.mu.shards[h.id] = h
			all = append(all, h)
		}
	}
	n.start = make(chan *hosted, len(all)+startMax)
	for _, h := range all {
		n.start <- h
	}
	return nil
}

// open opens one replica; nil when the folder holds none: its creation was
// never finished, and never answered.
func (n *Node) open(o shard.Options) *hosted {
	h := newHosted(o.ID, o.Dir)
	s, err := shard.Open(o)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil
	case err != nil:
		h.failure = err.Error()
		n.logger.Error("replica can't be opened", "shard", o.ID, "dir", o.Dir, "error", err)
	default:
		h.shard = s
	}
	return h
}

// options are those of a shard.
func (n *Node) options(id ident.Shard, dir string) shard.Options {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return shard.Options{
		ID: id, ClusterHash: ident.Hash64(n.mu.cluster), Instance: n.o.Instance, BootID: n.o.BootID, FS: n.o.FS, Dir: dir,
		SegmentBytes: n.o.SegmentBytes, RingBytes: n.ringBytes(), MinFreeBytes: n.o.MinFreeBytes, Free: n.o.Free,
		RetentionMS: n.o.RetentionMS, RetentionBytes: n.o.RetentionBytes, Clock: n.o.Clock, Now: n.o.Now,
		Metadata: source{n.o.Table}, Logger: n.logger, Counts: n.o.Counts,
	}
}

// ringSharesMax is how many shards share the budget of tail rings; more than
// that many get a ring that is as small, and the budget grows.
const ringSharesMax = 4

func (n *Node) ringBytes() int64 {
	return n.o.RingBytes / int64(min(max(len(n.mu.shards), 1), ringSharesMax))
}

// create makes an empty replica in the directory with the most free space. Other
// shards are served meanwhile.
func (n *Node) create(id ident.Shard, incarnation uint64) error {
	const op = "create replica"
	n.creating.Lock()
	defer n.creating.Unlock()
	h := n.find(id)
	n.mu.RLock()
	cluster := n.mu.cluster // once known it never changes
	n.mu.RUnlock()
	switch {
	case cluster == "":
		return fault.Errorf(op, fault.Unavailable, "the node has not been told yet which cluster it belongs to")
	case h != nil && h.shard != nil && h.shard.Incarnation() == incarnation:
		return nil
	case h != nil:
		return fault.Errorf(op, fault.Exists, "shard %d lies in %s already, as another incarnation", id, h.dir)
	case len(n.start) >= startMax:
		return fault.Errorf(op, fault.Throttled, "%d shards wait to be started", startMax)
	}
	o := n.options(id, shardDir(n.roomiest(), id))
	if err := shard.Create(o, incarnation); err != nil {
		return err
	}
	if h = n.open(o); h == nil || h.shard == nil {
		return fault.Errorf(op, fault.Internal, "shard %d can't be opened in %s", id, o.Dir)
	}
	n.mu.Lock()
	n.mu.shards[id] = h
	n.mu.Unlock()
	n.start <- h
	return nil
}

func (n *Node) roomiest() string {
	if n.o.Free == nil {
		return n.o.Dirs[0]
	}
	return slices.MaxFunc(n.o.Dirs, func(a, b string) int {
		freeA, _, _ := n.o.Free(a) // a directory that can't be asked counts as full
		freeB, _, _ := n.o.Free(b)
		return cmp.Compare(freeA, freeB)
	})
}

// all returns the replicas, by shard.
func (n *Node) all() []*hosted {
	n.mu.RLock()
	defer n.mu.RUnlock()
	list := make([]*hosted, 0, len(n.mu.shards))
	for _, h := range n.mu.shards {
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b *hosted) int { return cmp.Compare(a.id, b.id) })
	return list
}

func (n *Node) find(id ident.Shard) *hosted {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.mu.shards[id]
}

// status of a replica, also of one that could not be opened.
func (h *hosted) status() shard.Status {
	if h.shard == nil {
		return shard.FailedStatus(h.id, h.failure)
	}
	return h.shard.Status()
}

// source gives shards the node's metadata.
type source struct{ table *metadata.Table }

var _ shard.Metadata = source{}

func (s source) Config(kind record.ConfigKind, id uint64) (c storeapi.Config, ok bool) {
	snap := s.table.Snapshot()
	var m proto.Message
	switch kind {
	case record.ConfigTopic:
		t := snap.TopicByID(ident.Topic(id))
		if t == nil {
			return c, false
		}
		m, c.Revision = t, t.GetRevision()
	case record.ConfigGroup:
		g := snap.GroupByID(ident.Group(id))
		if g == nil {
			return c, false
		}
		m, c.Revision = g, g.GetRevision()
	default:
		return c, false
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	c.Kind, c.ID, c.Bytes = uint8(kind), id, b
	return c, err == nil
}

func (s source) Start(group ident.Group, topic ident.Topic) (*controlv1.Start, bool) {
	st := s.table.Snapshot().StartOf(group, topic)
	return st, st != nil
}
