// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/internal/fault"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// faultyStore is a store in memory that misbehaves as told.
type faultyStore struct {
	*metastore.Memory
	mu      sync.Mutex
	get     func()                              // before a read answers
	commit  func(metastore.Txn) error           // before a commit; an error leaves everything as it is
	after   func(metastore.Txn) error           // behind a commit: what the caller hears although it happened
	deliver func(metastore.Batch) (bool, error) // whether a watch delivers
}

func newFaultyStore() *faultyStore { return &faultyStore{Memory: metastore.NewMemory()} }

// set changes what goes wrong.
func (s *faultyStore) set(change func(*faultyStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *faultyStore) Get(ctx context.Context, key string) (metastore.Entry, error) {
	entry, err := s.Memory.Get(ctx, key)
	s.mu.Lock()
	behind := s.get
	s.mu.Unlock()
	if behind != nil {
		behind()
	}
	return entry, err
}

func (s *faultyStore) Commit(ctx context.Context, txn metastore.Txn) (int64, error) {
	s.mu.Lock()
	before, after := s.commit, s.after
	s.mu.Unlock()
	if before != nil {
		if err := before(txn); err != nil {
			return 0, err
		}
	}
	revision, err := s.Memory.Commit(ctx, txn)
	if err == nil && after != nil {
		if err := after(txn); err != nil {
			return 0, err
		}
	}
	return revision, err
}

func (s *faultyStore) Watch(ctx context.Context, prefix string, from int64, handle func(metastore.Batch) error) error {
	return s.Memory.Watch(ctx, prefix, from, func(b metastore.Batch) error {
		s.mu.Lock()
		deliver := s.deliver
		s.mu.Unlock()
		if deliver != nil {
			ok, err := deliver(b)
			if err != nil || !ok {
				return err
			}
		}
		return handle(b)
	})
}

// history returns every state that a shard ever had, from the store's own history.
func history(t *testing.T, store *metastore.Memory, id uint32) []*controlv1.Shard {
	t.Helper()
	keys, err := metastore.NewKeys("test")
	if err != nil {
		t.Fatal(err)
	}
	var states []*controlv1.Shard
	last, err := store.List(t.Context(), metastore.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// A marker behind everything ends the watch.
	if _, err := store.Commit(t.Context(), metastore.Txn{Puts: []metastore.Put{{Key: "/end"}}}); err != nil {
		t.Fatal(err)
	}
	err = store.Watch(ctx, "/", 1, func(b metastore.Batch) error {
		for _, c := range b.Changes {
			if kind, name := keys.Split(c.Key); kind == "shards" {
				shard := &controlv1.Shard{}
				if err := metastore.Decode(c.Entry, shard); err != nil {
					return err
				}
				if parsed, err := metastore.ParseShard(name); err == nil && uint32(parsed) == id {
					states = append(states, shard)
				}
			}
		}
		if b.Revision > last.Revision {
			cancel()
		}
		return nil
	})
	if !fault.Is(err, fault.Canceled) {
		t.Fatal(err)
	}
	return states
}

// checkHistory asserts what must hold in every history of a shard: terms only grow, a term has at most one leader, and
// every leader is of a term that was raised before.
func checkHistory(t *testing.T, states []*controlv1.Shard) {
	t.Helper()
	for i := 1; i < len(states); i++ {
		a, b := states[i-1], states[i]
		switch {
		case b.GetTerm() < a.GetTerm():
			t.Errorf("term %d after %d", b.GetTerm(), a.GetTerm())
		case b.GetTerm() == a.GetTerm() && a.GetLeader() != nil && !proto.Equal(a.GetLeader(), b.GetLeader()):
			t.Errorf("term %d has leaders %v and %v", a.GetTerm(), a.GetLeader(), b.GetLeader())
		case b.GetTerm() == a.GetTerm() && a.GetLeader() != nil && a.GetLeaderInstance() != b.GetLeaderInstance():
			t.Errorf("term %d has instances %d and %d", a.GetTerm(), a.GetLeaderInstance(), b.GetLeaderInstance())
		case b.GetTerm() > a.GetTerm() && b.GetLeader() != nil:
			t.Errorf("term %d has a leader from the start", b.GetTerm())
		case b.GetTerm() > a.GetTerm()+1:
			t.Errorf("term %d after %d", b.GetTerm(), a.GetTerm())
		}
	}
}
