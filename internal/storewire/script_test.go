// SPDX-License-Identifier: Apache-2.0

package storewire_test

import (
	"sync"
	"testing"
	"time"

	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/internal/storewire"
)

// script is a target that keeps every operation until the test answers it.
type script struct {
	mu  sync.Mutex
	ops []*storeapi.Op
}

func (s *script) Submit(ops []*storeapi.Op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops = append(s.ops, ops...)
}

func (s *script) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ops)
}

// take returns what has arrived and forgets it.
func (s *script) take() []*storeapi.Op {
	s.mu.Lock()
	defer s.mu.Unlock()
	ops := s.ops
	s.ops = nil
	return ops
}

// await waits for n operations and returns them.
func (s *script) await(t testing.TB, n int) []*storeapi.Op {
	t.Helper()
	until(t, "operations reach the store", func() bool { return s.len() >= n })
	return s.take()
}

// answers collects what Submit was answered, by order of arrival.
type answers chan storeapi.Reply

// submit submits one operation; its answer goes to a.
func (a answers) submit(p *storewire.Peer, q storeapi.Request, deadline time.Time) {
	p.Submit([]*storeapi.Op{{Shard: 1, Request: q, Deadline: deadline, Done: func(r storeapi.Reply) { a <- r }}})
}

// next returns the next answer.
func (a answers) next(t testing.TB) storeapi.Reply {
	t.Helper()
	limit := time.NewTimer(40 * time.Second) // a test on fake time waits for 30 s
	defer limit.Stop()
	select {
	case r := <-a:
		return r
	case <-limit.C:
		t.Fatal("no answer")
		return storeapi.Reply{}
	}
}

// expect demands a code from the next answer.
func (a answers) expect(t testing.TB, want storeapi.Code) storeapi.Reply {
	t.Helper()
	r := a.next(t)
	if r.Code != want {
		t.Fatalf("answered %v (%s), want %v", r.Code, r.Detail, want)
	}
	return r
}

// up waits until both lanes are connected.
func (w *wire) up() {
	w.t.Helper()
	until(w.t, "both lanes are up", w.peer.Up)
}

var ok = storeapi.Reply{Code: storeapi.OK}
