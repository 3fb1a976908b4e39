// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/storenode/clock"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/replica"
)

const (
	topicID  = ident.Topic(1)
	groupID  = ident.Group(2)
	graveID  = ident.Topic(3)
	attempts = 3
	hourMS   = 3_600_000
)

// knowledge is a fixed metadata table.
type knowledge struct{}

func (knowledge) Config(kind record.ConfigKind, id uint64) (storeapi.Config, bool) {
	var m proto.Message
	switch {
	case kind == record.ConfigTopic && id == uint64(topicID):
		m = &controlv1.Topic{Id: id, Name: "orders", Queues: []*controlv1.Queue{{Shard: 1}, {Shard: 1}}, Revision: 1}
	case kind == record.ConfigTopic && id == uint64(graveID):
		m = &controlv1.Topic{Id: id, Name: "%DLQ%billing", Queues: []*controlv1.Queue{{Shard: 1}}, Revision: 1}
	case kind == record.ConfigGroup && id == uint64(groupID):
		m = &controlv1.Group{Id: id, Name: "billing", MaxAttempts: attempts, StrictExpiry: true, DeadLetterTopic: uint64(graveID), Revision: 1}
	default:
		return storeapi.Config{}, false
	}
	b, err := proto.Marshal(m)
	return storeapi.Config{Kind: uint8(kind), ID: id, Revision: 1, Bytes: b}, err == nil
}

func (knowledge) Start(ident.Group, ident.Topic) (*controlv1.Start, bool) { return nil, false }

// life is one process life of a shard on a disk that outlives it.
type life struct {
	t      testing.TB
	disk   disk.FS
	dir    string
	size   int64        // of segments
	offset atomic.Int64 // of both clocks, ms
	shard  *Shard
	term   ident.Term
	cancel context.CancelFunc
	ended  chan error
}

var instances atomic.Uint64

func (l *life) options() Options {
	return Options{
		ID: 1, ClusterHash: 77, Instance: instances.Add(1), FS: l.disk, Dir: l.dir, SegmentBytes: l.size, RingBytes: 1 << 16,
		Metadata: knowledge{}, Now: time.Now, Clock: func() clock.Reading {
			at := l.offset.Load()
			return clock.Reading{Mono: at, Wall: 1_000*hourMS + at}
		},
	}
}

// begin creates or recovers the replica and makes it lead.
func begin(t testing.TB, d *disk.Memory, offset int64) *life {
	return beginOn(t, setting{disk: d, dir: "s", offset: offset, segmentBytes: 64 << 10})
}

// setting says where and how a life begins.
type setting struct {
	disk         disk.FS
	dir          string
	offset       int64
	segmentBytes int64
	clock        clock.Source // nil: the life's own
	tune         func(*Options)
}

func beginOn(t testing.TB, at setting) *life {
	d, dir := at.disk, at.dir
	l := &life{t: t, disk: d, dir: dir, size: at.segmentBytes, ended: make(chan error, 1)}
	l.offset.Store(at.offset)
	o := l.options()
	if at.clock != nil {
		o.Clock = at.clock
	}
	if at.tune != nil {
		at.tune(&o)
	}
	if _, _, err := replica.LoadMeta(d, dir); err != nil {
		if err := Create(o, 5); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(context.WithoutCancel(t.Context()))
	l.shard = s
	go func() { l.ended <- s.Run(ctx) }()
	l.term = s.Status().Term + 1
	if _, err := s.Fence(t.Context(), l.term, replica.Seen{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Lead(t.Context(), l.term, o.Instance, nil); err != nil {
		t.Fatal(err)
	}
	l.settle()
	return l
}

// settle waits until the shard leads.
func (l *life) settle() {
	for l.shard.Status().Role != replica.Leader {
		if st := l.shard.Status(); st.Role == replica.Failed {
			l.t.Fatalf("replica failed: %s", st.Failure)
		}
		if l.t.Context().Err() != nil {
			l.t.Fatal("the shard never led")
		}
		l.do(&storeapi.Offsets{Topic: topicID})
	}
}

// stop ends the life in good order.
func (l *life) stop() {
	l.cancel()
	if err := <-l.ended; err != nil {
		l.t.Fatal(err)
	}
}

// start submits one operation and answers where its reply will come.
func (l *life) start(r storeapi.Request) <-chan storeapi.Reply {
	done := make(chan storeapi.Reply, 1)
	l.shard.Submit([]*storeapi.Op{{
		Shard: 1, TopicRevision: 1, GroupRevision: 1, Request: r, Done: func(r storeapi.Reply) { done <- r },
	}})
	return done
}

// do submits one operation and waits for its reply.
func (l *life) do(r storeapi.Request) storeapi.Reply { return <-l.start(r) }

// payload makes a message to queue 0 or 1.
func payload(q ident.Queue, id, tag string, seq uint64) []byte {
	sys := []byte{3<<3 | 2, byte(len(id))}
	sys = append(sys, id...)
	if tag != "" {
		sys = append(append(sys, 1<<3|2, byte(len(tag))), tag...)
	}
	h := message.Head{Topic: topicID, Queue: q, IDHash: ident.Hash64(id), Proxy: 9, Seq: seq}
	if tag != "" {
		h.TagHash = ident.Hash32(tag)
	}
	return message.Append(nil, &h, sys, []byte("body of "+id))
}

func idOf(m *storeapi.Taken) string {
	id, _ := message.Text(message.Payload(m.Payload).Sys(), message.FieldMessageID)
	return id
}

// send stores n messages and returns their ids.
func (l *life) send(from, n int) (ids []string) {
	for i := from; i < from+n; i++ {
		id := fmt.Sprintf("m%d", i)
		r := l.do(&storeapi.Append{Topic: topicID, Payloads: [][]byte{payload(ident.Queue(i%2), id, "", uint64(i)+1)}})
		if r.Code != storeapi.OK || r.Result.(*storeapi.AppendResult).Entries[0].Code != storeapi.OK {
			l.t.Fatalf("send %s: %v", id, r)
		}
		ids = append(ids, id)
	}
	return ids
}

func (l *life) take(n int, invisibleMS int64) *storeapi.TakeResult {
	r := l.do(&storeapi.Take{Group: groupID, Topic: topicID, Max: n, InvisibleMS: invisibleMS, Client: "c"})
	switch r.Code { //nolint:exhaustive // the others fail the test
	case storeapi.OK:
		return r.Result.(*storeapi.TakeResult)
	case storeapi.None:
		return &storeapi.TakeResult{}
	}
	l.t.Fatalf("take: %v", r)
	return nil
}

func named(r *storeapi.TakeResult, i int) storeapi.Delivery {
	return storeapi.Delivery{
		Group: groupID, Topic: topicID, Generation: r.Generation, Queue: r.Messages[i].Queue, Offset: r.Messages[i].Offset,
		Term: r.Term, Grant: r.Grant,
	}
}

func (l *life) verdict(d storeapi.Delivery, v storeapi.Verdict, ms int64) storeapi.Code {
	r := l.do(&storeapi.Settle{Items: []storeapi.SettleItem{{Delivery: d, Verdict: v, MS: ms}}})
	if r.Code != storeapi.OK {
		l.t.Fatalf("settle: %v", r)
	}
	return r.Result.(*storeapi.SettleResult).Codes[0]
}
