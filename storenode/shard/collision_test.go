// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/disk"
)

// TestCollidingTags: a tag that only has the hash of a wanted one is found out
// once; whoever wants its text gets it.
func TestCollidingTags(t *testing.T) {
	const wanted, other = "tag14063", "tag71150"
	if ident.Hash32(wanted) != ident.Hash32(other) {
		t.Fatal("these have different hashes")
	}
	l := begin(t, disk.NewMemory(), 0)
	defer l.stop()
	l.do(&storeapi.Append{Topic: topicID, Payloads: [][]byte{payload(0, "x", other, 100)}})
	take := func(tag string) *storeapi.TakeResult {
		r := l.do(&storeapi.Take{Group: groupID, Topic: topicID, Max: 8, InvisibleMS: hourMS, Client: tag, Filter: tagged(tag)})
		got, _ := r.Result.(*storeapi.TakeResult)
		return got
	}
	if got := take(wanted); got != nil && len(got.Messages) > 0 {
		t.Fatalf("%+v", got)
	}
	free := l.start(&storeapi.Park{ID: 1, Group: groupID, Topic: topicID, Filter: tagged(other)})
	if r := <-free; r.Code != storeapi.Ready { // the release has been applied
		t.Fatal(r)
	}
	end := l.shard.Status().End
	call := l.start(&storeapi.Park{ID: 2, Group: groupID, Topic: topicID, Filter: tagged(wanted)})
	if got := take(wanted); got != nil {
		t.Fatalf("%+v", got)
	}
	select {
	case r := <-call:
		t.Fatalf("called for a tag that it does not want: %v", r)
	default:
	}
	if now := l.shard.Status().End; now != end {
		t.Fatalf("the log grew by %d bytes", now-end)
	}
	if got := take(other); got == nil || len(got.Messages) != 1 || got.Messages[0].Attempt != 1 {
		t.Fatalf("who wants it got %+v", got)
	}
}
