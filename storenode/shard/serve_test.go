// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"

	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/disk"
)

// TestCrowd: more than a round carries comes at once, from several sides. All of
// it is served, in rounds that stay small.
func TestCrowd(t *testing.T) {
	d := disk.NewMemory()
	counts := &Counts{}
	l := beginOn(t, setting{disk: d, dir: "s", segmentBytes: 16 << 20, tune: func(o *Options) { o.Counts = counts }})
	defer l.stop()
	const senders, each = 4, 40
	replies := make(chan storeapi.Code, senders*each)
	for i := range senders {
		ops := make([]*storeapi.Op, each)
		for j := range ops {
			p := append(payload(0, "crowd", "", uint64(i*each+j)+1), make([]byte, 256<<10)...)
			ops[j] = &storeapi.Op{
				Shard: 1, TopicRevision: 1, GroupRevision: 1, Request: &storeapi.Append{Topic: topicID, Payloads: [][]byte{p}},
				Done: func(r storeapi.Reply) { replies <- r.Code },
			}
		}
		go func() {
			for len(ops) > 0 {
				l.shard.Submit(ops[:8])
				ops = ops[8:]
			}
		}()
	}
	for n := range senders * each {
		if code := <-replies; code != storeapi.OK {
			t.Fatalf("reply %d: %v", n, code)
		}
	}
	if rounds := counts.Rounds.Load(); rounds < senders*each*(256<<10)/(2*batchBytesMax) {
		t.Errorf("only %d rounds", rounds)
	}
}
