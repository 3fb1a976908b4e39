// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/disk"
)

// TestWakeHashesNoFilters: to pass over many receives with the same filter costs
// no more memory than to pass over one.
func TestWakeHashesNoFilters(t *testing.T) {
	const waiters = 100
	l := begin(t, disk.NewMemory(), 0)
	defer l.stop()
	for i := range uint64(waiters) {
		l.start(&storeapi.Park{ID: i + 1, Group: groupID, Topic: topicID, Client: "c", Filter: tagged("a", "b")})
	}
	got, err := call(t.Context(), l.shard, "test", func(answer func(float64, error)) {
		answer(testing.AllocsPerRun(10, func() { l.shard.wake(place{groupID, topicID}) }), nil)
	})
	if err != nil || got > waiters/2 {
		t.Fatalf("%v allocations for %d receives (%v)", got, waiters, err)
	}
}

// TestTakeIsRefusedByTheInbox: a Take whose scan would go on after what else waits
// is answered what the inbox says when that takes nothing any more.
func TestTakeIsRefusedByTheInbox(t *testing.T) {
	l := begin(t, disk.NewMemory(), 0)
	defer l.stop()
	l.take(1, hourMS) // somebody wants all: nothing is skipped

	for from := 0; from <= 4_096; from += 256 { // more than one scan looks at
		r := &storeapi.Append{Topic: topicID}
		for i := range 256 {
			r.Payloads = append(r.Payloads, payload(ident.Queue(0), "m", "x", uint64(from+i)+1))
		}
		if got := l.do(r); got.Code != storeapi.OK {
			t.Fatal(got)
		}
	}
	take := &storeapi.Take{Group: groupID, Topic: topicID, Max: 1, InvisibleMS: 1, Client: "other", Filter: tagged("none")}
	code, err := call(t.Context(), l.shard, "test", func(answer func(storeapi.Code, error)) {
		l.shard.inbox.close()
		l.shard.sequenceTake(&storeapi.Op{
			TopicRevision: 1, GroupRevision: 1, Request: take, Done: func(r storeapi.Reply) { answer(r.Code, nil) },
		}, take)
	})
	if err != nil || code != storeapi.Unavailable {
		t.Fatalf("answered %v (%v)", code, err)
	}
}
