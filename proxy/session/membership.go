// SPDX-License-Identifier: Apache-2.0

package session

import (
	"cmp"
	"slices"

	"github.com/mansiomq/mansio/internal/storeapi"
)

const (
	// SubscriptionsMax and filterBytesMax bound what one client consumes in one
	// group: they are sent with every sign of life.
	SubscriptionsMax = 1024
	filterBytesMax   = 16 << 10
	// What a membership, a subscription and a tag cost beside their texts, roughly.
	membershipCost   = 64
	subscriptionCost = 64
	tagCost          = 16
)

// Subscription is one topic that a client consumes.
type Subscription struct {
	Topic  string
	Filter storeapi.Filter
}

// Membership is what a client consumes in one group.
type Membership struct {
	Group         string
	Subscriptions []Subscription // by topic
	// Unknown: there is more than these, or nothing is known yet.
	Unknown bool
}

// newMembership keeps what fits; of subscriptions of one topic the last counts.
func newMembership(group string, all []Subscription) Membership {
	m := Membership{Group: group, Unknown: len(all) == 0 || len(all) > SubscriptionsMax}
	list := slices.Clone(all[:min(len(all), SubscriptionsMax)])
	slices.SortStableFunc(list, func(a, b Subscription) int { return cmp.Compare(a.Topic, b.Topic) })
	kept, size := 0, 0
	for i, s := range list {
		if i+1 < len(list) && list[i+1].Topic == s.Topic {
			continue
		}
		n := filterBytes(s.Filter)
		if size+n > filterBytesMax {
			m.Unknown = true
			continue
		}
		size += n
		list[kept] = s
		kept++
	}
	m.Subscriptions = slices.Clip(list[:kept])
	return m
}

func (m *Membership) find(topic string) (int, bool) {
	return slices.BinarySearchFunc(m.Subscriptions, topic, func(s Subscription, topic string) int { return cmp.Compare(s.Topic, topic) })
}

// has reports whether the subscription is known already.
func (m *Membership) has(s Subscription) bool {
	i, found := m.find(s.Topic)
	return found && sameFilter(m.Subscriptions[i].Filter, s.Filter)
}

// with returns the membership with one topic's filter added or replaced, in a list
// of its own: copies that were handed out stay as they are.
func (m Membership) with(s Subscription) Membership {
	i, found := m.find(s.Topic)
	size := filterBytes(s.Filter)
	for j := range m.Subscriptions {
		if !found || j != i {
			size += filterBytes(m.Subscriptions[j].Filter)
		}
	}
	if !found && len(m.Subscriptions) >= SubscriptionsMax || size > filterBytesMax {
		m.Unknown = true
		return m
	}
	if len(m.Subscriptions) == 0 {
		m.Unknown = false // now it is known
	}
	m.Subscriptions = slices.Clone(m.Subscriptions)
	if found {
		m.Subscriptions[i] = s
	} else {
		m.Subscriptions = slices.Insert(m.Subscriptions, i, s)
	}
	return m
}

func (m *Membership) equal(other *Membership) bool {
	return m.Unknown == other.Unknown && slices.EqualFunc(m.Subscriptions, other.Subscriptions, func(a, b Subscription) bool {
		return a.Topic == b.Topic && sameFilter(a.Filter, b.Filter)
	})
}

// size is about the memory that the membership takes.
func (m *Membership) size() int64 {
	n := membershipCost + len(m.Group)
	for i := range m.Subscriptions {
		s := &m.Subscriptions[i]
		n += subscriptionCost + len(s.Topic) + tagCost*len(s.Filter.Tags) + filterBytes(s.Filter)
	}
	return int64(n)
}

func filterBytes(f storeapi.Filter) (n int) {
	for _, tag := range f.Tags {
		n += len(tag)
	}
	return n
}

func sameFilter(a, b storeapi.Filter) bool { return a.Kind == b.Kind && slices.Equal(a.Tags, b.Tags) }
