// SPDX-License-Identifier: Apache-2.0

package session

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Max bounds the clients that a proxy remembers: about 1 KiB each.
	Max = 100_000
	// ExpiryTime is how long after its last sign of life a client is forgotten.
	// The slowest official client gives one every 30 s.
	ExpiryTime = 120 * time.Second

	// Parts is how many parts the clients are in, each with a lock of its own.
	Parts = 64
	// languageBytesMax bounds what is remembered of a client's language.
	languageBytesMax = 32
	// sampleMax is among how many clients one is sought that can make room.
	sampleMax = 64
)

// Registry holds the clients. All methods may be called from any goroutine.
type Registry struct {
	max     int64
	count   atomic.Int64
	bytes   atomic.Int64 // of what clients consume
	refused atomic.Uint64
	parts   [Parts]part
	seed    maphash.Seed
}

type part struct {
	sync.RWMutex
	clients map[string]*Client // guarded
}

// New makes an empty registry for at most limit clients; 0: Max.
func New(limit int) *Registry {
	if limit == 0 {
		limit = Max
	}
	r := &Registry{max: int64(limit), seed: maphash.MakeSeed()}
	for i := range r.parts {
		r.parts[i].clients = make(map[string]*Client)
	}
	return r
}

func (r *Registry) part(id string) *part { return &r.parts[maphash.String(r.seed, id)%Parts] }

// Find returns the client of that id, or nil.
func (r *Registry) Find(id string) *Client {
	p := r.part(id)
	p.RLock()
	defer p.RUnlock()
	c := p.clients[id]
	if c != nil && !c.shared.Load() {
		c.shared.Store(true)
	}
	return c
}

// Touch notes a sign of life of the client, which is remembered from now on. At
// the bound it takes the place of another one that consumes nothing; if none is
// found the result is a client that nobody else finds.
func (r *Registry) Touch(id, language string, nowMS int64) *Client {
	c := r.Find(id)
	if c == nil {
		c = r.add(id, language)
	}
	c.Seen(nowMS)
	return c
}

func (r *Registry) add(id, language string) *Client {
	if len(language) > languageBytesMax {
		language = language[:languageBytesMax]
	}
	c := &Client{ID: strings.Clone(id), Language: strings.Clone(language)}
	p := r.part(id)
	p.Lock()
	defer p.Unlock()
	if known := p.clients[id]; known != nil {
		known.shared.Store(true)
		return known
	}
	if r.count.Add(1) > r.max {
		r.count.Add(-1)
		if !p.evict() {
			r.refused.Add(1)
			return c
		}
	}
	c.mu.total = &r.bytes
	p.clients[c.ID] = c
	return c
}

// evict forgets the client that was silent for longest among some that consume
// nothing; false: there is none. It is called with the lock held.
func (p *part) evict() bool {
	var oldest *Client
	seen := 0
	for _, c := range p.clients { // begins anywhere
		seen++
		if seen > sampleMax {
			break
		}
		if (oldest == nil || c.seenMS.Load() < oldest.seenMS.Load()) && c.idle() {
			oldest = c
		}
	}
	if oldest == nil {
		return false
	}
	delete(p.clients, oldest.ID)
	oldest.forgotten()
	return true
}

// Forget forgets a client that consumes nothing and of which nothing is open,
// unless another call has found it: that one may be about to change this.
func (r *Registry) Forget(c *Client) {
	p := r.part(c.ID)
	p.Lock()
	defer p.Unlock()
	if p.clients[c.ID] == c && !c.shared.Load() && c.idle() {
		r.forget(p, c)
	}
}

func (r *Registry) forget(p *part, c *Client) {
	delete(p.clients, c.ID)
	r.count.Add(-1)
	c.forgotten()
}

// Remove forgets a client and returns it, or nil.
func (r *Registry) Remove(id string) *Client {
	p := r.part(id)
	p.Lock()
	defer p.Unlock()
	c := p.clients[id]
	if c != nil {
		r.forget(p, c)
	}
	return c
}

// Len is how many clients are remembered.
func (r *Registry) Len() int { return int(r.count.Load()) }

// Refused is how many clients were not remembered at the bound.
func (r *Registry) Refused() uint64 { return r.refused.Load() }

// Bytes is about the memory of what all clients consume.
func (r *Registry) Bytes() int64 { return r.bytes.Load() }

// Sweep forgets the clients whose last sign of life is too old.
func (r *Registry) Sweep(nowMS int64) (forgotten int) {
	oldest := nowMS - ExpiryTime.Milliseconds()
	for i := range r.parts {
		p := &r.parts[i]
		p.Lock()
		for _, c := range p.clients {
			if !c.AliveSince(oldest) {
				r.forget(p, c)
				forgotten++
			}
		}
		p.Unlock()
	}
	return forgotten
}

// Each calls visit for every client of the i-th of Parts parts, without a lock
// held.
func (r *Registry) Each(i int, visit func(*Client)) {
	p := &r.parts[i]
	p.RLock()
	clients := make([]*Client, 0, len(p.clients))
	for _, c := range p.clients {
		clients = append(clients, c)
	}
	p.RUnlock()
	for _, c := range clients {
		visit(c)
	}
}
