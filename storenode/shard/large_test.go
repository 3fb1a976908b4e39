// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/disk"
)

// TestTooLarge: a message that no segment can hold gets a code of its own, and
// those beside it are stored.
func TestTooLarge(t *testing.T) {
	l := begin(t, disk.NewMemory(), 0)
	defer l.stop()
	least := payload(0, "m", "", 1)
	room := int(MessageBytesMax(l.size)) - len(least) - len("m")
	fits := append(payload(0, "m", "", 2), make([]byte, room)...)
	not := append(payload(0, "m", "", 3), make([]byte, room+1)...)
	r := l.do(&storeapi.Append{Topic: topicID, Payloads: [][]byte{fits, not, least}})
	entries := r.Result.(*storeapi.AppendResult).Entries
	if entries[0].Code != storeapi.OK || entries[1].Code != storeapi.TooLarge || entries[2].Code != storeapi.OK {
		t.Error(entries)
	}
	got := l.do(&storeapi.Take{Group: groupID, Topic: topicID, Max: 1, InvisibleMS: hourMS}).Result.(*storeapi.TakeResult)
	if code := l.verdict(named(got, 0), storeapi.Bury, 0); code != storeapi.OK {
		t.Errorf("the largest message as a dead letter: %v", code)
	}
}

// TestLongClientID: a client id is written again and again, so it is short.
func TestLongClientID(t *testing.T) {
	l := begin(t, disk.NewMemory(), 0)
	defer l.stop()
	l.send(0, 1)
	long := strings.Repeat("c", clientBytesMax+1)
	for _, r := range []storeapi.Request{
		&storeapi.Take{Group: groupID, Topic: topicID, Max: 1, InvisibleMS: hourMS, Client: long},
		&storeapi.Park{ID: 1, Group: groupID, Topic: topicID, Client: long},
		&storeapi.Alive{Signs: []storeapi.ClientSign{{Client: long, Group: groupID}, {Client: "c", Group: groupID}}},
	} {
		if got := l.do(r); got.Code != storeapi.Invalid {
			t.Errorf("%T: %v", r, got)
		}
	}
}

// TestManyRenewals: signs of life of many owners are cut into entries.
func TestManyRenewals(t *testing.T) {
	l := begin(t, disk.NewMemory(), 0)
	defer l.stop()
	const owners = 300
	l.send(0, owners)
	var signs []storeapi.ClientSign
	for i := range owners {
		id := fmt.Sprintf("%0*d", clientBytesMax, i)
		r := l.do(&storeapi.Take{Group: groupID, Topic: topicID, Max: 1, InvisibleMS: 60_000, Client: id, AutoRenew: true})
		if r.Code != storeapi.OK {
			t.Fatal(r)
		}
		signs = append(signs, storeapi.ClientSign{Client: id, Group: groupID})
	}
	for range 4 {
		l.offset.Add(20_000)
		l.do(&storeapi.Alive{Signs: signs})
	}
	if got := l.take(1, hourMS); len(got.Messages) != 0 {
		t.Fatalf("not renewed: %+v", got.Messages)
	}
}

// TestManySettlements: settlements are cut into entries.
func TestManySettlements(t *testing.T) {
	l := begin(t, disk.NewMemory(), 0)
	defer l.stop()
	most := storeapi.SettleItem{Delivery: storeapi.Delivery{
		Group: math.MaxUint64, Topic: math.MaxUint64, Generation: math.MaxUint32, Queue: math.MaxUint64, Offset: math.MaxUint64,
		Term: math.MaxUint64, Grant: math.MaxUint64,
	}, Verdict: storeapi.Release, MS: leaseMSMax}
	r := l.do(&storeapi.Settle{Items: slices.Repeat([]storeapi.SettleItem{most}, 3_000)})
	for i, code := range r.Result.(*storeapi.SettleResult).Codes {
		if code != storeapi.InvalidHandle {
			t.Fatalf("%d: %v", i, code)
		}
	}
}
