// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"time"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/metadata"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/proxy/route"
	"github.com/mansiomq/mansio/proxy/session"
)

const (
	// signEvery is how often a client's sign of life goes to the shards. A sign
	// keeps leases for a minute, so three may be lost.
	signEvery = 15 * time.Second
	// signTicks is over how many moments of that time the clients are spread: many
	// signs at once would hold up the shards.
	signTicks = 16
	// sweepEvery is how often clients are looked at that gave none for long.
	sweepEvery = 5 * time.Second
	// signsMax bounds the signs of one operation, and signTime its life.
	signsMax = 512
	signTime = 10 * time.Second
)

// signs collects signs of life by shard.
type signs struct {
	p     *Proxy
	snap  *metadata.Snapshot
	shard map[ident.Shard][]storeapi.ClientSign
}

func (p *Proxy) newSigns() *signs {
	return &signs{p: p, snap: p.o.Table.Snapshot(), shard: make(map[ident.Shard][]storeapi.ClientSign)}
}

// add adds a client's sign in each of its groups, for the shards of the topics
// that it consumes there. If those are not known it goes to all topics that the
// group has ever consumed.
func (s *signs) add(c *session.Client, terminated bool) {
	for _, m := range c.Memberships() {
		group := s.snap.GroupByName(m.Group)
		if group == nil {
			continue
		}
		id := ident.Group(group.GetId())
		here := make(map[ident.Shard]*storeapi.ClientSign)
		sign := func(shard ident.Shard) *storeapi.ClientSign {
			if here[shard] == nil {
				here[shard] = &storeapi.ClientSign{Client: c.ID, Group: id, Terminated: terminated, Unknown: m.Unknown}
			}
			return here[shard]
		}
		for _, sub := range m.Subscriptions {
			topic := s.snap.TopicByName(sub.Topic)
			if topic == nil {
				continue
			}
			for _, shard := range s.p.router.Shards(topic) {
				to := sign(shard)
				to.Subscriptions = append(to.Subscriptions, storeapi.Subscription{Topic: ident.Topic(topic.GetId()), Filter: sub.Filter})
			}
		}
		if m.Unknown || terminated {
			for _, start := range s.snap.StartsOf(id) {
				if topic := s.snap.TopicByID(ident.Topic(start.GetTopic())); topic != nil {
					for _, shard := range s.p.router.Shards(topic) {
						sign(shard)
					}
				}
			}
		}
		for shard, to := range here {
			s.shard[shard] = append(s.shard[shard], *to)
		}
	}
}

// send hands the signs to their shards and does not wait.
func (s *signs) send() {
	deadline := s.p.o.Now().Add(signTime)
	for shard, all := range s.shard {
		for len(all) > 0 {
			n := portion(all)
			s.p.router.Start(&route.Request{
				Shard: shard, Request: &storeapi.Alive{Signs: all[:n:n]}, Deadline: deadline,
			}, func(storeapi.Reply) {})
			all = all[n:]
		}
	}
}

// portion is how many of the signs, which are not none, go into one operation.
func portion(all []storeapi.ClientSign) int {
	n, size := 1, all[0].Size()
	for n < min(len(all), signsMax) {
		if size += all[n].Size(); size > storeapi.AliveBytesMax {
			break
		}
		n++
	}
	return n
}

// announce tells the shards at once what a client consumes: until they know, they
// might withhold messages that only it wants.
func (p *Proxy) announce(c *session.Client) {
	s := p.newSigns()
	s.add(c, false)
	s.send()
}

// farewell tells the shards that a client is gone.
func (p *Proxy) farewell(c *session.Client) {
	s := p.newSigns()
	s.add(c, true)
	s.send()
}

// keepAlive sends the signs of all clients that gave one since the last time, and
// forgets those that have been silent for too long.
func (p *Proxy) keepAlive(ctx context.Context) error {
	sweep, sign := time.NewTicker(sweepEvery), time.NewTicker(signEvery/signTicks)
	defer sweep.Stop()
	defer sign.Stop()
	refused, told := seldom(), uint64(0)
	var last [session.Parts]int64 // when the signs of a part were sent
	start := p.o.Now().UnixMilli()
	for i := range last {
		last[i] = start
	}
	for tick := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-sweep.C:
			p.clients.Sweep(p.o.Now().UnixMilli())
			if n := p.clients.Refused(); n != told && refused.AllowN(p.o.Now(), 1) {
				told = n
				p.o.Log.WarnContext(ctx, "more clients than this proxy remembers: signs of life of the others are not passed on",
					"clients", p.clients.Len(), "refused", n)
			}
		case <-sign.C:
			s := p.newSigns()
			for part := tick; part < session.Parts; part += signTicks {
				since := last[part]
				last[part] = p.o.Now().UnixMilli()
				p.clients.Each(part, func(c *session.Client) {
					if c.AliveSince(since) {
						s.add(c, false)
					}
				})
			}
			s.send()
			tick = (tick + 1) % signTicks
		}
	}
}
