// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"slices"
	"sync"

	"github.com/mansiomq/mansio/internal/metadata"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

const (
	// queueMax bounds the changes that wait for one watcher. A watcher that is further behind gets the whole state.
	queueMax = 1024
	// deltaObjectsMax bounds one change; what is larger goes out as the whole state, which travels in parts.
	deltaObjectsMax = 512
)

// hub hands every step of the table to all watchers, and knows how far each is.
type hub struct {
	table *metadata.Table

	mu struct {
		sync.Mutex
		watchers map[*watcher]bool // guarded
		progress chan struct{}     // guarded; closed when a watcher advanced or left
	}
}

// watcher is one connected proxy or store node.
type watcher struct {
	name    string
	wake    chan struct{}
	queue   []*controlv1.WatchResponse // guarded by hub.mu
	whole   bool                       // guarded by hub.mu; it must get the whole state next
	applied int64                      // guarded by hub.mu
}

func newHub(table *metadata.Table) *hub {
	h := &hub{table: table}
	h.mu.watchers = make(map[*watcher]bool)
	h.mu.progress = make(chan struct{})
	return h
}

// publish queues a step for every watcher. It never blocks.
func (h *hub) publish(delta metadata.Delta) {
	change, size := changeOf(delta)
	if size == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.mu.watchers {
		switch {
		case w.whole: // will see the newest state anyway
		case size > deltaObjectsMax || len(w.queue) == queueMax:
			w.queue, w.whole = nil, true
		default:
			w.queue = append(w.queue, change)
		}
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// changeOf is a delta as watchers get it, and how many objects it names.
func changeOf(d metadata.Delta) (change *controlv1.WatchResponse, size int) {
	change = &controlv1.WatchResponse{
		Revision: d.New.Revision(), Topics: d.Topics, Groups: d.Groups, Starts: d.Starts, Shards: d.Shards, Nodes: d.Nodes,
		DeletedStarts: d.DeletedStarts,
	}
	if d.Cluster {
		change.Cluster = d.New.Cluster()
		size++
	}
	for _, t := range d.DeletedTopics {
		change.DeletedTopics = append(change.DeletedTopics, t.GetId())
	}
	for _, g := range d.DeletedGroups {
		change.DeletedGroups = append(change.DeletedGroups, g.GetId())
	}
	for _, s := range d.DeletedShards {
		change.DeletedShards = append(change.DeletedShards, s.GetId())
	}
	for _, n := range d.DeletedNodes {
		change.DeletedNodes = append(change.DeletedNodes, n.GetId())
	}
	size += len(d.Topics) + len(d.Groups) + len(d.Starts) + len(d.Shards) + len(d.Nodes) + len(d.DeletedTopics) +
		len(d.DeletedGroups) + len(d.DeletedStarts) + len(d.DeletedShards) + len(d.DeletedNodes)
	return change, size
}

// join adds a watcher that needs the whole state.
func (h *hub) join(name string, applied int64) *watcher {
	w := &watcher{name: name, wake: make(chan struct{}, 1), whole: true, applied: applied}
	w.wake <- struct{}{}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.watchers[w] = true
	return w
}

// leave forgets a watcher.
func (h *hub) leave(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.mu.watchers, w)
	h.advanced()
}

// take returns what to send now: the whole state of a snapshot, or changes.
func (h *hub) take(w *watcher) (whole *metadata.Snapshot, changes []*controlv1.WatchResponse) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w.whole {
		w.whole = false
		return h.table.Snapshot(), nil
	}
	changes, w.queue = w.queue, nil
	return nil, changes
}

// apply notes that a watcher has applied a revision.
func (h *hub) apply(w *watcher, revision int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.applied = revision
	h.advanced()
}

// advanced wakes those that wait for watchers; call it with the lock held.
func (h *hub) advanced() {
	close(h.mu.progress)
	h.mu.progress = make(chan struct{})
}

// await returns when every watcher has applied the revision, or ctx is done; then
// it names those that have not.
func (h *hub) await(ctx context.Context, revision int64) (laggards []string) {
	if h.table.WaitRevision(ctx, revision) != nil {
		return []string{"controller"}
	}
	for {
		h.mu.Lock()
		laggards, progress := h.behind(revision), h.mu.progress
		h.mu.Unlock()
		if len(laggards) == 0 {
			return nil
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return laggards
		}
	}
}

func (h *hub) behind(revision int64) []string {
	var names []string
	for w := range h.mu.watchers {
		if w.applied < revision {
			names = append(names, w.name)
		}
	}
	slices.Sort(names)
	return names
}
