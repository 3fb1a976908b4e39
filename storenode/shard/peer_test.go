// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"

	"github.com/mansiomq/mansio/internal/storewire/peertest"
	"github.com/mansiomq/mansio/storenode/clock"
	"github.com/mansiomq/mansio/storenode/disk"
)

// TestPeer runs what a proxy may rely on over a real shard in this process.
func TestPeer(t *testing.T) {
	peertest.Run(t, func(t *testing.T) *peertest.Env {
		l := beginOn(t, setting{disk: disk.NewMemory(), dir: "s", segmentBytes: 16 << 20, clock: clock.System})
		t.Cleanup(l.stop)
		return &peertest.Env{
			Peer: l.shard, Shard: 1, Topic: topicID, Group: groupID, TopicRevision: 1, GroupRevision: 1, Proxy: 4,
		}
	})
}
