// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"sync"
	"sync/atomic"

	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

const (
	// groupsMax bounds the groups of one client: official ones have one.
	groupsMax = 8
	// bytesMax bounds what all clients together consume, in bytes of memory.
	bytesMax = 64 << 20
)

// Client is one SDK instance. Its methods may be called from any goroutine.
type Client struct {
	ID       string
	Language string // of the header: JAVA, GO, HTTP, …

	seenMS atomic.Int64
	held   atomic.Int32 // open streams and waiting receives
	shared atomic.Bool  // more than the call that made it known has it

	mu struct {
		sync.Mutex
		kind        pb.ClientType
		memberships []Membership
		streams     []*Stream
		total       *atomic.Int64 // bytes of all clients; nil: the registry does not hold this one
		bytes       int64         // of memberships, counted in total
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
	return c.membership(group) == nil && c.put(Membership{Group: group, Unknown: true})
}

// Consumes notes what the client consumes in a group, from its settings: it
// replaces what was known. It reports whether that is news.
func (c *Client) Consumes(group string, subscriptions []Subscription) bool {
	m := newMembership(group, subscriptions)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.put(m)
}

// Receives notes that the client received with that filter. It reports whether
// that is news.
func (c *Client) Receives(group string, s Subscription) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.membership(group)
	switch {
	case m == nil:
		return c.put(Membership{Group: group}.with(s))
	case m.has(s):
		return false
	}
	return c.put(m.with(s))
}

// put sets what the client consumes in a group and reports whether that is news.
// At the bound of all clients each keeps one group, and what it consumes there
// counts as unknown. It is called with the lock held.
func (c *Client) put(m Membership) bool {
	old := c.membership(m.Group)
	var was Membership
	var size int64
	if old != nil {
		was, size = *old, old.size()
	} else if len(c.mu.memberships) >= groupsMax {
		return false
	}
	if !c.grow(m.size() - size) {
		if old == nil && len(c.mu.memberships) > 0 {
			return false
		}
		m.Subscriptions, m.Unknown = nil, true
		c.add(m.size() - size)
	}
	if old == nil {
		c.mu.memberships = append(c.mu.memberships, m)
		return true
	}
	*old = m
	return !was.equal(&m)
}

// grow counts n more bytes, if there is room.
func (c *Client) grow(n int64) bool {
	if c.mu.total != nil && n > 0 && c.mu.total.Load()+n > bytesMax {
		return false
	}
	c.add(n)
	return true
}

func (c *Client) add(n int64) {
	if c.mu.total != nil {
		c.mu.total.Add(n)
		c.mu.bytes += n
	}
}

// forgotten takes the client out of what all clients count.
func (c *Client) forgotten() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(-c.mu.bytes)
	c.mu.total = nil
}

// idle reports that nothing is lost when the client is forgotten: it consumes
// nothing, and nothing of it is open.
func (c *Client) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.mu.memberships) == 0 && c.held.Load() == 0
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
