// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/disk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSendTakeAck(t *testing.T) {
	l := begin(t, disk.NewMemory(), 0)
	defer l.stop()
	sent := l.send(0, 10)
	got := l.take(32, hourMS)
	var ids []string
	for i := range got.Messages {
		m := &got.Messages[i]
		ids = append(ids, idOf(m))
		if m.Attempt != 1 || m.StoreMS == 0 {
			t.Errorf("%s: attempt %d, stored at %d", idOf(m), m.Attempt, m.StoreMS)
		}
		if c := l.verdict(named(got, i), storeapi.Ack, 0); c != storeapi.OK {
			t.Errorf("ack: %v", c)
		}
	}
	slices.Sort(ids)
	slices.Sort(sent)
	if !slices.Equal(ids, sent) {
		t.Fatalf("sent %v, got %v", sent, ids)
	}
	if again := l.take(32, hourMS); len(again.Messages) != 0 {
		t.Fatalf("acknowledged messages came back: %v", again.Messages)
	}
	for i := range got.Messages {
		if c := l.verdict(named(got, i), storeapi.Ack, 0); c != storeapi.OK {
			t.Errorf("a second ack: %v", c)
		}
	}
}

func TestExpiryCountsAttemptsThenDeadLetters(t *testing.T) {
	l := begin(t, disk.NewMemory(), 0)
	defer l.stop()
	l.send(0, 1)
	var last storeapi.Delivery
	for n := int32(1); n <= attempts; n++ {
		got := l.take(1, 1_000)
		if len(got.Messages) != 1 || got.Messages[0].Attempt != n {
			t.Fatalf("attempt %d: %+v", n, got)
		}
		if early := l.take(1, 1_000); len(early.Messages) != 0 {
			t.Fatalf("leased twice at once: %+v", early)
		}
		if last.Grant != 0 {
			if c := l.verdict(last, storeapi.Ack, 0); c != storeapi.InvalidHandle {
				t.Fatalf("the handle of an earlier delivery: %v", c)
			}
		}
		last = named(got, 0)
		l.offset.Add(1_000)
	}
	ready := l.start(&storeapi.Park{ID: 1, Group: groupID, Topic: graveID})
	if c := l.verdict(last, storeapi.Ack, 0); c != storeapi.InvalidHandle {
		t.Fatalf("an ack after the due: %v", c)
	}
	r := <-ready
	if r.Code != storeapi.Ready {
		t.Fatalf("the dead-letter topic's waiter: %v", r)
	}
	r = l.do(&storeapi.Take{Group: groupID, Topic: graveID, Max: 1, InvisibleMS: hourMS, Ticket: r.Result.(*storeapi.ReadyResult).Ticket})
	dead := r.Result.(*storeapi.TakeResult)
	if len(dead.Messages) != 1 || idOf(&dead.Messages[0]) != "m0" {
		t.Fatalf("dead letters: %+v", r)
	}
	if got := l.take(1, 1_000); len(got.Messages) != 0 {
		t.Fatalf("delivered beyond the last attempt: %+v", got)
	}
}

func TestParkIsCalledForWhatItWaitsFor(t *testing.T) {
	l := begin(t, disk.NewMemory(), 0)
	defer l.stop()
	onlyB := storeapi.Filter{Kind: storeapi.FilterTags, Tags: []string{"b"}}
	b := l.start(&storeapi.Park{ID: 1, Group: groupID, Topic: topicID, Filter: onlyB})
	all := l.start(&storeapi.Park{ID: 2, Group: groupID, Topic: topicID})
	l.do(&storeapi.Append{Topic: topicID, Payloads: [][]byte{payload(0, "x", "a", 1)}})
	if r := <-all; r.Code != storeapi.Ready {
		t.Fatal(r)
	}
	select {
	case r := <-b:
		t.Fatalf("called for a message that it does not want: %v", r)
	default:
	}
	l.do(&storeapi.Append{Topic: topicID, Payloads: [][]byte{payload(0, "y", "b", 2)}})
	r := <-b
	if r.Code != storeapi.Ready {
		t.Fatal(r)
	}
	r = l.do(&storeapi.Take{
		Group: groupID, Topic: topicID, Filter: onlyB, Max: 9, InvisibleMS: hourMS, Client: "b",
		Ticket: r.Result.(*storeapi.ReadyResult).Ticket,
	})
	got := r.Result.(*storeapi.TakeResult)
	if len(got.Messages) != 1 || idOf(&got.Messages[0]) != "y" {
		t.Fatalf("filtered take: %+v", got)
	}
	if rest := l.take(9, hourMS); len(rest.Messages) != 1 || idOf(&rest.Messages[0]) != "x" {
		t.Fatalf("what the filter passed over: %+v", rest)
	}
	waiting := l.start(&storeapi.Park{ID: 3, Group: groupID, Topic: topicID})
	if r := l.do(&storeapi.Unpark{ID: 3}); r.Code != storeapi.OK {
		t.Fatal(r)
	}
	if r := <-waiting; r.Code != storeapi.Canceled {
		t.Fatal(r)
	}
}

func TestReplayIsStoredOnce(t *testing.T) {
	l := begin(t, disk.NewMemory(), 0)
	defer l.stop()
	first := l.start(&storeapi.Append{Topic: topicID, Payloads: [][]byte{payload(0, "x", "", 7)}})
	again := l.start(&storeapi.Append{Topic: topicID, Payloads: [][]byte{payload(0, "x", "", 7)}})
	a := (<-first).Result.(*storeapi.AppendResult).Entries[0]
	b := (<-again).Result.(*storeapi.AppendResult).Entries[0]
	if a != b || a.Code != storeapi.OK {
		t.Fatalf("a replay was answered %+v, the first %+v", b, a)
	}
	if got := l.take(9, hourMS); len(got.Messages) != 1 {
		t.Fatalf("stored %d times", len(got.Messages))
	}
}
