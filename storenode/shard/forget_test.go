// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"

	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/replica"
)

// TestWhatIsMissingIsForgottenOnceItLeads: the word of what still exists comes
// right behind the order to lead, when the barrier is not applied yet.
func TestWhatIsMissingIsForgottenOnceItLeads(t *testing.T) {
	d := disk.NewMemory()
	l := begin(t, d, 0)
	l.send(0, 3)
	l.stop()
	ctx := l.reopen()
	go func() { l.ended <- l.shard.Run(ctx) }()
	term := l.shard.Status().Term + 1
	if _, err := l.shard.Fence(t.Context(), term, replica.Seen{}); err != nil {
		t.Fatal(err)
	}
	h := hold(d, disk.OpSync, ".log", 0)
	if err := l.shard.Lead(t.Context(), term, l.shard.o.Instance, nil); err != nil {
		t.Fatal(err)
	}
	<-h.entered
	l.shard.ForgetMissing(func(record.ConfigKind, uint64) bool { return false }, 9)
	close(h.release)
	l.becomes(replica.Leader)
	for l.shard.Status().Commit != l.shard.Status().End {
		l.do(&storeapi.Offsets{})
	}
	if r := l.do(&storeapi.Append{Topic: topicID}); r.Code != storeapi.TopicNotFound {
		t.Fatalf("a topic that was deleted meanwhile: %v", r)
	}
	l.stop()
}
