// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"sync"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/proxy/handle"
	"github.com/mansiomq/mansio/proxy/park"
	"github.com/mansiomq/mansio/proxy/route"
)

// settleMax bounds the items of one operation on one shard.
const settleMax = 1024

// badHandle is the answer to every handle that is not one of the request's topic
// and group in this cluster, or whose delivery is over: clients give up on it.
var badHandle = status(pb.Code_INVALID_RECEIPT_HANDLE, "the receipt handle is not valid")

// deliveryOf is the handle of a message that was taken.
func deliveryOf(s *park.Spot, taken *storeapi.TakeResult, m *storeapi.Taken, shard ident.Shard) handle.Handle {
	grant := m.Grant
	if grant == 0 {
		grant = taken.Grant
	}
	return handle.Handle{Shard: shard, Delivery: storeapi.Delivery{
		Group: s.Key.Group, Topic: s.Key.Topic, Generation: taken.Generation, Queue: m.Queue, Offset: m.Offset,
		Term: taken.Term, Grant: grant,
	}}
}

// party is the topic and the group that a settling request names.
type party struct {
	topic *controlv1.Topic
	group *controlv1.Group
}

// party resolves the names of a settling request. Names that nobody could have
// are refused; a topic or a group that is not there (any more) makes every handle
// invalid, which is not decided here: its fields are nil then.
func (p *Proxy) party(topic, group *pb.Resource) (party, *pb.Status) {
	if bad := badTopic(topic.GetName()); bad != nil {
		return party{}, bad
	}
	if bad := badGroup(group.GetName()); bad != nil {
		return party{}, bad
	}
	snap := p.o.Table.Snapshot()
	if snap.Cluster() == nil {
		return party{}, status(pb.Code_INTERNAL_SERVER_ERROR, "this proxy has not heard from the controller yet")
	}
	return party{snap.TopicByName(topic.GetName()), snap.GroupByName(group.GetName())}, nil
}

// parse reads a handle and holds it against the names of the request.
func (p *Proxy) parse(text string, names *party) (handle.Handle, bool) {
	h, err := p.handles.Load().Parse(text)
	if err != nil || names.topic == nil || names.group == nil {
		return h, false
	}
	return h, h.Topic == ident.Topic(names.topic.GetId()) && h.Group == ident.Group(names.group.GetId())
}

// settleOne settles one delivery.
func (p *Proxy) settleOne(c *call, names *party, h *handle.Handle, item storeapi.SettleItem) *pb.Status {
	item.Delivery = h.Delivery
	codes, detail := p.settle(c, names, h.Shard, []storeapi.SettleItem{item})
	return settleStatus(codes[0], detail)
}

// settle settles deliveries of one shard and returns a code for each. Settling
// twice is the same as settling once, so it is tried until the time is over.
func (p *Proxy) settle(c *call, names *party, shard ident.Shard, items []storeapi.SettleItem) (codes []storeapi.Code, detail string) {
	reply := p.router.Do(c.ctx, &route.Request{
		Shard: shard, Topic: names.topic, Group: names.group, Request: &storeapi.Settle{Items: items}, Repeatable: true,
		Deadline: c.deadline(),
	})
	if result, _ := reply.Result.(*storeapi.SettleResult); reply.Code == storeapi.OK && result != nil && len(result.Codes) == len(items) {
		return result.Codes, ""
	}
	if reply.Code == storeapi.OK {
		reply.Code = storeapi.Internal
	}
	codes = make([]storeapi.Code, len(items))
	for i := range codes {
		codes[i] = reply.Code
	}
	return codes, reply.Detail
}

// settling collects what a request settles on one shard.
type settling struct {
	items   []storeapi.SettleItem
	entries []int // of the request, by item
}

// settleAll settles the deliveries of several shards, all at once, and calls done
// for each entry, from this goroutine.
func (p *Proxy) settleAll(c *call, names *party, byShard map[ident.Shard]*settling, done func(entry int, s *pb.Status)) {
	type outcome struct {
		codes  []storeapi.Code
		detail string
	}
	results := make(map[*settling]*outcome, len(byShard))
	var all sync.WaitGroup
	one := func(shard ident.Shard, s *settling, o *outcome) {
		for at := 0; at < len(s.items); at += settleMax {
			codes, detail := p.settle(c, names, shard, s.items[at:min(at+settleMax, len(s.items))])
			o.codes = append(o.codes, codes...)
			o.detail = detail
		}
	}
	for shard, s := range byShard {
		o := &outcome{}
		results[s] = o
		if len(byShard) == 1 {
			one(shard, s, o)
			continue
		}
		all.Go(func() { one(shard, s, o) })
	}
	all.Wait()
	for s, o := range results {
		for i, entry := range s.entries {
			done(entry, settleStatus(o.codes[i], o.detail))
		}
	}
}
