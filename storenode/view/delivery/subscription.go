// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"slices"

	"github.com/mansiomq/mansio/internal/ident"
)

const (
	// SubscriptionTTLMS is how long a subscription outlives the last sign of it,
	// and how long a new leader waits to hear of all of them.
	SubscriptionTTLMS = 120_000

	// membersMax bounds the clients that a shard keeps in mind. Of groups with
	// a client beyond it nothing is skipped.
	membersMax = 1 << 18
)

// Subscriptions is what a leader has heard of who wants what. It is volatile: a
// new leader begins without, and lets nothing be skipped until everybody has
// had time to be heard. Times are monotonic ones, not log times: a step of the
// log's clock makes nobody silent.
type Subscriptions struct {
	ledSinceMS int64
	groups     map[ident.Group]*membership
	members    int
	version    uint64 // of the newest change
}

type membership struct {
	clients map[string]*member
	topics  map[ident.Topic]*audience
	sweepMS int64 // no subscription ends before
	unknown int   // members of whom no subscription is known
	tooMany int64 // when a client was last refused
}

type member struct {
	seenMS int64
	topics map[ident.Topic]subscription
}

type subscription struct {
	filter Filter
	seenMS int64
}

type audience struct {
	counts  map[uint64]int
	filters []Filter
	version uint64
}

// Audience is what the live subscriptions of a group want of a topic.
type Audience struct {
	// MaySkip says that all of them are known.
	MaySkip bool
	// Version changes whenever anything else changes.
	Version uint64
	filters []Filter
}

// Wants reports whether some subscription wants a message with that tag hash.
func (a Audience) Wants(tagHash uint32) bool {
	for _, f := range a.filters {
		if f.Wants(tagHash) {
			return true
		}
	}
	return false
}

// NewSubscriptions returns the registry of a leader that leads since then.
func NewSubscriptions(ledSinceMS int64) *Subscriptions {
	return &Subscriptions{ledSinceMS: ledSinceMS, groups: map[ident.Group]*membership{}}
}

// Subscribed takes note of a subscription, from a client's settings or receive.
// It replaces the client's former one to that topic.
func (s *Subscriptions) Subscribed(k Key, client string, f Filter, nowMS int64) {
	g, m := s.sign(k.Group, client, nowMS)
	if m == nil {
		return
	}
	old, had := m.topics[k.Topic]
	if len(m.topics) == 0 {
		g.unknown--
	}
	m.topics[k.Topic] = subscription{f, nowMS}
	if had && old.filter.key == f.key {
		return
	}
	if had {
		s.drop(g, k.Topic, old.filter)
	}
	s.add(g, k.Topic, f)
}

// Alive takes note of a sign of life that names no subscriptions: the client's
// former ones stand. One of whom none is known keeps everything of the group from
// being skipped.
func (s *Subscriptions) Alive(group ident.Group, client string, nowMS int64) {
	_, m := s.sign(group, client, nowMS)
	if m == nil {
		return
	}
	for topic, sub := range m.topics {
		sub.seenMS = nowMS
		m.topics[topic] = sub
	}
}

// Audience returns what the group wants of the topic at nowMS.
func (s *Subscriptions) Audience(k Key, nowMS int64) Audience {
	g := s.groups[k.Group]
	if g == nil {
		return Audience{}
	}
	s.sweep(k.Group, g, nowMS)
	a := Audience{
		MaySkip: nowMS-s.ledSinceMS >= SubscriptionTTLMS && len(g.clients) > 0 && g.unknown == 0 &&
			(g.tooMany == 0 || nowMS-g.tooMany >= SubscriptionTTLMS),
	}
	if t := g.topics[k.Topic]; t != nil {
		a.filters, a.Version = t.filters, t.version<<1
	}
	if a.MaySkip {
		a.Version |= 1
	}
	return a
}

func (s *Subscriptions) sign(group ident.Group, client string, nowMS int64) (*membership, *member) {
	g := s.groups[group]
	if g == nil {
		g = &membership{
			clients: map[string]*member{}, topics: map[ident.Topic]*audience{},
			sweepMS: nowMS + SubscriptionTTLMS,
		}
		s.groups[group] = g
	}
	m := g.clients[client]
	if m == nil {
		if s.members >= membersMax {
			g.tooMany = nowMS
			return g, nil
		}
		s.members++
		g.unknown++
		m = &member{topics: map[ident.Topic]subscription{}}
		g.clients[client] = m
	}
	m.seenMS = nowMS
	return g, m
}

func (s *Subscriptions) add(g *membership, topic ident.Topic, f Filter) {
	t := g.topics[topic]
	if t == nil {
		t = &audience{counts: map[uint64]int{}}
		g.topics[topic] = t
	}
	t.counts[f.key]++
	if t.counts[f.key] == 1 {
		t.filters = append(slices.Clip(t.filters), f)
		s.changed(t)
	}
}

func (s *Subscriptions) drop(g *membership, topic ident.Topic, f Filter) {
	t := g.topics[topic]
	t.counts[f.key]--
	if t.counts[f.key] > 0 {
		return
	}
	delete(t.counts, f.key)
	t.filters = slices.DeleteFunc(slices.Clone(t.filters), func(o Filter) bool { return o.key == f.key })
	s.changed(t)
	if len(t.counts) == 0 {
		delete(g.topics, topic)
	}
}

// changed gives the audience a version that no other has had: an audience that
// went away and came back is another one.
func (s *Subscriptions) changed(t *audience) {
	s.version++
	t.version = s.version
}

// sweep forgets subscriptions that nobody named, and members that fell silent.
func (s *Subscriptions) sweep(group ident.Group, g *membership, nowMS int64) {
	if nowMS < g.sweepMS {
		return
	}
	g.sweepMS = nowMS + SubscriptionTTLMS
	for client, m := range g.clients {
		known := len(m.topics) > 0
		for topic, sub := range m.topics {
			if end := sub.seenMS + SubscriptionTTLMS; end > nowMS {
				g.sweepMS = min(g.sweepMS, end)
				continue
			}
			s.drop(g, topic, sub.filter)
			delete(m.topics, topic)
		}
		end := m.seenMS + SubscriptionTTLMS
		if end > nowMS { // then so is its newest subscription, if it had one
			g.sweepMS = min(g.sweepMS, end)
			continue
		}
		if !known {
			g.unknown--
		}
		delete(g.clients, client)
		s.members--
	}
	if len(g.clients) == 0 {
		delete(s.groups, group)
	}
}

// Sweep forgets all members, of all groups, that fell silent by nowMS. The
// owner calls it now and then, so that groups which nobody asks about go too.
func (s *Subscriptions) Sweep(nowMS int64) {
	for group, g := range s.groups {
		s.sweep(group, g, nowMS)
	}
}
