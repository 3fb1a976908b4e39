// SPDX-License-Identifier: Apache-2.0

package storenode

import (
	"context"
	"time"

	"github.com/mansiomq/mansio/internal/fault"
)

const (
	// turnEvery is the pace at which each running shard is asked for a turn.
	turnEvery = 10 * time.Second
	// turnMax is the age of a shard's last turn at which the process counts as hung:
	// far above what any turn takes, also with a disk that is slow or full.
	turnMax = 30 * time.Second
)

// turns notes when the shard's owner last took a turn, until ctx ends.
func (n *Node) turns(ctx context.Context, h *hosted) error {
	defer h.turned.Store(nil)
	tick := time.NewTicker(turnEvery)
	defer tick.Stop()
	for {
		if h.shard.Turn(ctx) != nil {
			return nil // it has stopped, or shall
		}
		now := n.o.Now()
		h.turned.Store(&now)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Alive reports what only a new process can mend: a shard that runs and takes no
// turns. A shard that is still coming up, or has failed, is none of that.
func (n *Node) Alive() error {
	now := n.o.Now()
	for _, h := range n.all() {
		if at := h.turned.Load(); at != nil && now.Sub(*at) > turnMax {
			return fault.Errorf("", fault.Unavailable, "shard %d has done nothing for %v", h.id, now.Sub(*at).Round(time.Second))
		}
	}
	return nil
}
