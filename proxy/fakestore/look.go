// SPDX-License-Identifier: Apache-2.0

package fakestore

import (
	"slices"
	"time"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
)

// Requests returns the requests that were submitted since the last call. Those
// that are answered belong to their sender again: only their type may be looked at,
// and what their sender does not use again.
func (n *Node) Requests() []storeapi.Request {
	n.mu.Lock()
	defer n.mu.Unlock()
	log := n.mu.log
	n.mu.log = nil
	return log
}

// Signs returns the signs of life that came since the last call.
func (n *Node) Signs() []storeapi.ClientSign {
	n.mu.Lock()
	defer n.mu.Unlock()
	signs := n.mu.signs
	n.mu.signs = nil
	return signs
}

// Stored returns the payloads of a topic on a shard, in the order in which they
// were stored.
func (n *Node) Stored(id ident.Shard, topic ident.Topic) (payloads []message.Payload) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.shard(id).order {
		if m.topic == topic {
			payloads = append(payloads, slices.Clone(m.payload))
		}
	}
	return payloads
}

// Parked is how many Parks wait on a shard.
func (n *Node) Parked(id ident.Shard) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.shard(id).parks)
}

// Counts says how many deliveries of a group are leased, settled for good, and,
// of those, buried.
func (n *Node) Counts(g ident.Group) (leased, done, buried int) {
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.mu.shards {
		for _, m := range s.order {
			l := m.leases[g]
			switch {
			case l == nil:
			case l.done:
				done++
				if l.buried {
					buried++
				}
			case now.Before(l.due):
				leased++
			}
		}
	}
	return leased, done, buried
}

// DropParks ends all Parks, as when a stream breaks or a term ends.
func (n *Node) DropParks(code storeapi.Code) {
	var out []completion
	n.mu.Lock()
	for _, s := range n.mu.shards {
		for _, w := range s.parks {
			out = append(out, completion{w.done, storeapi.Reply{Code: code}})
		}
		s.parks = nil
	}
	n.mu.Unlock()
	complete(out)
}

// Close stops the node's timers.
func (n *Node) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.mu.shards {
		s.parks = nil
		if s.timer != nil {
			s.timer.Stop()
		}
	}
}
