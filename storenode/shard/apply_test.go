// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view/delivery"
)

// folder applies entries that no leader would write.
type folder struct {
	t   *testing.T
	v   *views
	lsn ident.LSN
	out outcome
}

func (f *folder) apply(typ record.Type, body []byte) *record.Header {
	f.t.Helper()
	e := record.Entry{Header: record.Header{
		Len: uint32(record.HeaderSize + len(body)), Type: typ, Version: record.Version, LSN: f.lsn, Term: 1, TimeMS: 1_000,
	}, Body: body}
	if err := f.v.apply(&e, &f.out); err != nil {
		f.t.Fatal(err)
	}
	f.lsn = e.End()
	return &e.Header
}

func (f *folder) tell(kind record.ConfigKind, id uint64) {
	c, _ := knowledge{}.Config(kind, id)
	b := record.Config{Kind: kind, ID: id, Revision: 1, Bytes: c.Bytes}
	f.apply(record.TypeConfig, b.Append(nil))
}

func (f *folder) end(kind record.ConfigKind, id uint64) {
	b := record.Config{Kind: kind, ID: id, Revision: 2, Deleted: true}
	f.apply(record.TypeConfig, b.Append(nil))
}

func leaseFirst() []byte {
	b := record.PopGrant{
		Group: groupID, Topic: topicID, InvisibleMS: hourMS,
		Items: []record.GrantItem{{Runs: []record.Run{{Kind: record.RunLease, Count: 1}}}},
	}
	return b.Append(nil)
}

func newFolder(t *testing.T) *folder {
	f := &folder{t: t, v: newViews(), lsn: 8}
	f.tell(record.ConfigTopic, uint64(topicID))
	f.tell(record.ConfigGroup, uint64(groupID))
	f.apply(record.TypeMessage, payload(0, "x", "", 9))
	return f
}

// TestNothingComesBackOfADeletedTopic: entries that were on their way when the
// topic was deleted change nothing.
func TestNothingComesBackOfADeletedTopic(t *testing.T) {
	f := newFolder(t)
	f.end(record.ConfigTopic, uint64(topicID))
	f.apply(record.TypePopGrant, leaseFirst())
	if !f.out.grant.Stale || len(f.out.grant.Granted) > 0 {
		t.Errorf("%+v", f.out.grant)
	}
	start := record.Config{Kind: record.ConfigStart, ID: uint64(groupID), Revision: 1, Bytes: []byte{1 << 3, 2, 2 << 3, 1}}
	f.apply(record.TypeConfig, start.Append(nil))
	if _, ok := f.v.deliveries.Stats(delivery.Key{Group: groupID, Topic: topicID}); ok {
		t.Error("the group has state of the deleted topic")
	}
}

// TestNoDeadLettersInADeletedTopic: the message stays where it is.
func TestNoDeadLettersInADeletedTopic(t *testing.T) {
	f := newFolder(t)
	grant := f.apply(record.TypePopGrant, leaseFirst())
	dead := record.DeadLetter{
		Group: groupID, Topic: topicID, Grant: grant.LSN, Reason: record.ReasonClient,
		Payload: message.DeadCopy(payload(0, "x", "", 9), graveID, 0, "orders"),
	}
	body := dead.Append(nil)
	f.apply(record.TypeDeadLetter, body)
	if f.out.code != storeapi.TopicNotFound || f.v.queues.Next(graveID, 0) != 0 {
		t.Fatalf("%v", f.out.code)
	}
	f.tell(record.ConfigTopic, uint64(graveID))
	f.apply(record.TypeDeadLetter, body)
	if f.out.code != storeapi.OK || f.v.queues.Next(graveID, 0) != 1 {
		t.Fatalf("%v", f.out.code)
	}
}
