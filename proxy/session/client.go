// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

const (
	// groupsMax bounds the groups of one client: official ones have one.
	groupsMax = 16
	// subscriptionsMax and filterBytesMax bound what one client consumes in one
	// group: they are sent with every sign of life.
	subscriptionsMax = 1024
	filterBytesMax   = 64 << 10
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

// Client is one SDK instance. Its methods may be called from any goroutine.
type Client struct {
	ID       string
	Language string // of the header: JAVA, GO, HTTP, …

	seenMS atomic.Int64
	held   atomic.Int32 // open streams and waiting receives

	mu struct {
		sync.Mutex
		kind        pb.ClientType
		memberships []Membership
		streams     []*Stream
	}
}

// Hold counts a stream or a receive that is open: a sign of life for as long as
// it is. Release must follow.
func (c *Client) Hold() { c.held.Add(1) }

// Release ends a Hold; nowMS is a sign of life.
func (c *Client) Release(nowMS int64) {
	c.held.Add(-1)
	c.seenMS.Store(nowMS)
}

// Seen notes a sign of life.
func (c *Client) Seen(nowMS int64) {
	if c.seenMS.Load() < nowMS {
		c.seenMS.Store(nowMS)
	}
}

// AliveSince reports whether the client gave a sign of life at or after that time.
func (c *Client) AliveSince(ms int64) bool { return c.held.Load() > 0 || c.seenMS.Load() >= ms }

// SetKind notes the client's role.
func (c *Client) SetKind(k pb.ClientType) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.kind = k
}

// Kind is the client's role, UNSPECIFIED while it is not known.
func (c *Client) Kind() pb.ClientType {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.kind
}

// Joined notes that the client belongs to a group. It reports whether that is news.
func (c *Client) Joined(group string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.membership(group) != nil || len(c.mu.memberships) >= groupsMax {
		return false
	}
	c.mu.memberships = append(c.mu.memberships, Membership{Group: group, Unknown: true})
	return true
}

// Consumes notes what the client consumes in a group, from its settings: it
// replaces what was known. It reports whether that is news.
func (c *Client) Consumes(group string, subscriptions []Subscription) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := Membership{Group: group, Unknown: len(subscriptions) == 0}
	for _, s := range subscriptions {
		m.set(s)
	}
	old := c.membership(group)
	switch {
	case old == nil && len(c.mu.memberships) >= groupsMax:
		return false
	case old == nil:
		c.mu.memberships = append(c.mu.memberships, m)
	case old.equal(&m):
		return false
	default:
		*old = m
	}
	return true
}

// Receives notes that the client received with that filter. It reports whether
// that is news.
func (c *Client) Receives(group string, s Subscription) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.membership(group)
	if m == nil {
		if len(c.mu.memberships) >= groupsMax {
			return false
		}
		c.mu.memberships = append(c.mu.memberships, Membership{Group: group})
		m = &c.mu.memberships[len(c.mu.memberships)-1]
	}
	if len(m.Subscriptions) == 0 {
		m.Unknown = false // now it is known
	}
	return m.set(s)
}

func (c *Client) membership(group string) *Membership {
	for i := range c.mu.memberships {
		if c.mu.memberships[i].Group == group {
			return &c.mu.memberships[i]
		}
	}
	return nil
}

// Memberships returns a copy of what the client consumes. Nobody may change the
// subscriptions in it.
func (c *Client) Memberships() []Membership {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.mu.memberships)
}

// set adds or replaces one topic's filter, in a list of its own: copies that were
// handed out stay as they are. It reports whether anything changed.
func (m *Membership) set(s Subscription) bool {
	i, found := slices.BinarySearchFunc(m.Subscriptions, s.Topic, func(s Subscription, topic string) int {
		switch {
		case s.Topic < topic:
			return -1
		case s.Topic > topic:
			return 1
		}
		return 0
	})
	if found && sameFilter(m.Subscriptions[i].Filter, s.Filter) {
		return false
	}
	if !found && len(m.Subscriptions) >= subscriptionsMax || m.filterBytes()+filterBytes(s.Filter) > filterBytesMax {
		changed := !m.Unknown
		m.Unknown = true
		return changed
	}
	next := slices.Clone(m.Subscriptions)
	if found {
		next[i] = s
	} else {
		next = slices.Insert(next, i, s)
	}
	m.Subscriptions = next
	return true
}

func (m *Membership) equal(other *Membership) bool {
	return m.Unknown == other.Unknown && slices.EqualFunc(m.Subscriptions, other.Subscriptions, func(a, b Subscription) bool {
		return a.Topic == b.Topic && sameFilter(a.Filter, b.Filter)
	})
}

func (m *Membership) filterBytes() (n int) {
	for _, s := range m.Subscriptions {
		n += filterBytes(s.Filter)
	}
	return n
}

func filterBytes(f storeapi.Filter) (n int) {
	for _, tag := range f.Tags {
		n += len(tag)
	}
	return n
}

func sameFilter(a, b storeapi.Filter) bool { return a.Kind == b.Kind && slices.Equal(a.Tags, b.Tags) }
