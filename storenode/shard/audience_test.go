// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"sync/atomic"
	"testing"

	"github.com/mansiomq/mansio/internal/storeapi"
)

func tagged(tags ...string) storeapi.Filter {
	return storeapi.Filter{Kind: storeapi.FilterTags, Tags: tags}
}

// TestStepSilencesNobody: a step of the log's clock is no silence of the clients.
// The first one that receives after it is not taken for the only one, so that
// what the others want is not skipped.
func TestStepSilencesNobody(t *testing.T) {
	var mono atomic.Int64
	l := lagging(t, &mono)
	defer l.stop()
	take := func(client, tag string) int {
		r := l.do(&storeapi.Take{Group: groupID, Topic: topicID, Max: 8, InvisibleMS: 1_000, Client: client, Filter: tagged(tag)})
		if got, ok := r.Result.(*storeapi.TakeResult); ok {
			return len(got.Messages)
		}
		return 0
	}
	take("a", "A")
	take("b", "B")
	mono.Store(minute + 1_000) // the step: a minute after the first reading
	l.do(&storeapi.Append{Topic: topicID, Payloads: [][]byte{payload(0, "forB", "B", 900)}})
	if n := take("a", "A"); n != 0 {
		t.Fatalf("a got %d", n)
	}
	if n := take("b", "B"); n != 1 {
		t.Fatalf("b got %d: its message was skipped", n)
	}
}
