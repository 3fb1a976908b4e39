// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

// latecomer knows a group that begins with what comes; start is nil as long as
// the shard's metadata lags.
type latecomer struct {
	knowledge
	start *controlv1.Start
}

func (k latecomer) Config(kind record.ConfigKind, id uint64) (storeapi.Config, bool) {
	c, ok := k.knowledge.Config(kind, id)
	if kind != record.ConfigGroup || !ok {
		return c, ok
	}
	g := &controlv1.Group{}
	err := proto.Unmarshal(c.Bytes, g)
	g.ConsumeFrom = controlv1.ConsumeFrom_CONSUME_FROM_LATEST
	c.Bytes, _ = proto.Marshal(g)
	return c, err == nil
}

func (k latecomer) Start(ident.Group, ident.Topic) (*controlv1.Start, bool) {
	return k.start, k.start != nil
}

func sinceMS(ms int64) *controlv1.Start {
	return &controlv1.Start{
		Group: uint64(groupID), Topic: uint64(topicID), From: controlv1.ConsumeFrom_CONSUME_FROM_LATEST, SinceMs: ms, Revision: 5,
	}
}

func lateGroup(start *controlv1.Start) setting {
	return setting{disk: disk.NewMemory(), dir: "s", segmentBytes: 64 << 10, tune: func(o *Options) { o.Metadata = latecomer{start: start} }}
}

// TestLatestGroup: from its first Take on, a group that begins with what comes
// gets nothing older, and is called for what is newer. That the controller's
// clock is ahead of the log changes nothing.
func TestLatestGroup(t *testing.T) {
	for _, aheadMS := range []int64{0, hourMS} {
		l := beginOn(t, lateGroup(sinceMS(1_000*hourMS+1_000+aheadMS)))
		l.send(0, 10)
		l.offset.Add(1_000)
		if got := l.take(32, hourMS); len(got.Messages) != 0 {
			t.Fatalf("the first take: %+v", got.Messages)
		}
		call := l.start(&storeapi.Park{ID: 1, Group: groupID, Topic: topicID, Client: "c"})
		if got := l.take(32, hourMS); len(got.Messages) != 0 {
			t.Fatalf("the second take: %+v", got.Messages)
		}
		select {
		case r := <-call:
			t.Fatalf("called for what is older: %v", r)
		default:
		}
		l.send(10, 1)
		if r := <-call; r.Code != storeapi.Ready {
			t.Fatal(r)
		}
		if got := l.take(32, hourMS); len(got.Messages) != 1 || idOf(&got.Messages[0]) != "m10" {
			t.Fatalf("what is newer: %+v", got.Messages)
		}
		l.stop()
	}
}

// TestLatestGroupBeforeItsStartIsKnown: a shard whose metadata lags asks for the
// start, instead of beginning at the earliest message.
func TestLatestGroupBeforeItsStartIsKnown(t *testing.T) {
	l := beginOn(t, lateGroup(nil))
	defer l.stop()
	l.send(0, 10)
	l.offset.Add(1_000)
	r := &storeapi.Take{Group: groupID, Topic: topicID, Max: 32, InvisibleMS: hourMS}
	if got := l.do(r); got.Code != storeapi.NeedConfig {
		t.Fatal(got)
	}
	bytes, err := proto.Marshal(sinceMS(1_000*hourMS + 500))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan storeapi.Reply, 1)
	l.shard.Submit([]*storeapi.Op{{
		Shard: 1, Request: r, Attached: []storeapi.Config{{Kind: uint8(record.ConfigStart), ID: uint64(groupID), Revision: 5, Bytes: bytes}},
		Done: func(r storeapi.Reply) { done <- r },
	}})
	if got := <-done; got.Code != storeapi.None {
		t.Fatal(got)
	}
	l.send(10, 1)
	if got := l.take(32, hourMS); len(got.Messages) != 1 || idOf(&got.Messages[0]) != "m10" {
		t.Fatalf("%+v", got.Messages)
	}
}
