// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/metadata"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	replicav1 "github.com/mansiomq/mansio/proto/mansio/replica/v1"
)

// pass lets virtual time go by.
func pass(d time.Duration) {
	<-time.NewTimer(d).C
	synctest.Wait()
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

func oneShard(c *Config) { c.ShardsPerNode = 1 }

func TestShardOfANewNode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, oneShard)
		table := w.watch("store n1")
		w.node("n1", func(n *fakeNode) { n.instance, n.zone = 7, "z1" })
		s := await(t, table, "a led shard", allLed(1))
		member := &controlv1.ReplicaID{Node: 1, Incarnation: 1}
		got := s.Shard(1)
		want := &controlv1.Shard{
			Id: 1, Term: 1, Phase: controlv1.Phase_PHASE_STEADY, Leader: member, LeaderInstance: 7, MinInSync: 1,
			Replicas: []*controlv1.ReplicaID{member}, InSync: []*controlv1.ReplicaID{member},
			ClockMs: time.Now().UnixMilli(), Revision: got.GetRevision(),
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		node := s.Node(1)
		if node.GetAddress() != "n1:1" || node.GetZone() != "z1" || node.GetInstance() != 7 || s.LeaderOf(1) != node {
			t.Errorf("%v", node)
		}
		// Entered without a term first, then elected.
		states := history(t, w.store.(*metastore.Memory), 1)
		checkHistory(t, states)
		if len(states) != 3 || states[0].GetTerm() != 0 || states[0].GetLeader() != nil {
			t.Errorf("%v", states)
		}
	})
}

// A restart is led again at once, in a new term; no lease and no timeout stands in between.
func TestRestartedNodeLeadsAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		table := w.watch("proxy p1")
		n := w.node("n1", nil)
		await(t, table, "two led shards", allLed(2))
		for life := uint64(2); life < 5; life++ {
			began := time.Now()
			n.restart()
			s := await(t, table, "elected anew", func(s *metadata.Snapshot) bool {
				return s.Shard(1).GetLeaderInstance() == life && s.Shard(2).GetLeaderInstance() == life
			})
			if took := time.Since(began); took > 500*time.Millisecond {
				t.Errorf("took %v", took)
			}
			if s.Shard(1).GetTerm() != life || s.Counts().Shards != 2 {
				t.Errorf("%v, %v", s.Shard(1), s.Counts())
			}
		}
	})
}

// A session that is lost, or a node that says nothing, deposes nobody.
func TestSilenceDeposesNobody(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		table := w.watch("proxy p1")
		silent, gone := w.node("n1", nil), w.node("n2", nil)
		before := await(t, table, "four led shards", allLed(4))
		silent.mu.Lock()
		silent.silent = true
		silent.mu.Unlock()
		gone.stop()
		pass(time.Minute)
		for shard := range before.Shards() {
			if diff := cmp.Diff(shard, table.Snapshot().Shard(ident.Shard(shard.GetId())), protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		}
		if nodes, err := w.admin().ListNodes(t.Context(), &controlv1.ListNodesRequest{}); err != nil ||
			len(nodes.GetNodes()) != 2 || len(nodes.GetLive()) != 0 {
			t.Errorf("%v %v", nodes, err)
		}
	})
}

// A shard whose only replica is gone stays without a leader, and nothing is made in its place.
func TestAbsentReplicaIsNotMadeAnew(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, oneShard)
		table := w.watch("proxy p1")
		n := w.node("n1", nil)
		await(t, table, "a led shard", allLed(1))
		n.stop()
		n.mu.Lock()
		n.replicas = make(map[uint32]*fakeReplica) // somebody emptied the store folder
		n.instance++
		n.mu.Unlock()
		n.start()
		pass(10 * time.Minute)
		s := table.Snapshot()
		if s.Shard(1).GetLeader() != nil || s.Counts().Shards != 1 {
			t.Errorf("%v, %v", s.Shard(1), s.Counts())
		}
		blocked := w.c.current.Load().repair.Blocked()
		if !strings.Contains(blocked[1], "does not have its replica (incarnation 1)") {
			t.Errorf("%v", blocked)
		}
		// It is tried again now and then, not all the time: an attempt costs a term.
		if term := s.Shard(1).GetTerm(); term < 5 || term > 15 {
			t.Errorf("term %d after ten minutes", term)
		}
		// The disk comes back: the shard is led again at once.
		n.stop()
		n.replicas[1] = &fakeReplica{incarnation: 1, term: 1, state: "FENCED"}
		n.instance++
		n.start()
		await(t, table, "led again", allLed(1))
		if blocked := w.c.current.Load().repair.Blocked(); len(blocked) != 0 {
			pass(2 * time.Second)
			if blocked := w.c.current.Load().repair.Blocked(); len(blocked) != 0 {
				t.Errorf("still blocked: %v", blocked)
			}
		}
	})
}

// Whatever goes wrong with calls to nodes is tried again, within seconds.
func TestCallsThatFail(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*fakeNode) // as long as it holds there is no leader
		after  func(*fakeNode)
	}{
		"create": {
			func(n *fakeNode) { n.create = fault.Errorf("", fault.Unavailable, "no space") },
			func(n *fakeNode) { n.create = nil },
		},
		"fence": {
			func(n *fakeNode) {
				n.fence = func(*replicav1.FenceRequest, *replicav1.FenceResponse) error { return errors.New("broken") }
			},
			func(n *fakeNode) { n.fence = nil },
		},
		"fence refused": {
			func(n *fakeNode) {
				n.fence = func(_ *replicav1.FenceRequest, r *replicav1.FenceResponse) error {
					r.Refusal = "still recovering"
					return nil
				}
			},
			func(n *fakeNode) { n.fence = nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t, oneShard)
				table := w.watch("proxy p1")
				n := w.node("n1", c.before)
				pass(30 * time.Second)
				for shard := range table.Snapshot().Shards() {
					if shard.GetLeader() != nil {
						t.Errorf("%v", shard)
					}
				}
				n.mu.Lock()
				c.after(n)
				n.mu.Unlock()
				began := time.Now()
				await(t, table, "a led shard", allLed(1))
				if took := time.Since(began); took > 15*time.Second {
					t.Errorf("took %v", took)
				}
				checkHistory(t, history(t, w.store.(*metastore.Memory), 1))
			})
		})
	}
}

// The call that tells the winner is lost; the node reports that it does not lead, and is told again.
func TestLostLeadCall(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, oneShard)
		table := w.watch("proxy p1")
		n := w.node("n1", nil)
		await(t, table, "a led shard", allLed(1))
		n.mu.Lock()
		for _, r := range n.replicas {
			r.state = "FENCED" // as if it had never come
		}
		leads := n.leads
		n.mu.Unlock()
		pass(3 * time.Second)
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.leads != leads+1 || n.replicas[1].state != "LEADER" {
			t.Errorf("%d calls, then %d; %v", leads, n.leads, n.replicas[1])
		}
		if term := table.Snapshot().Shard(1).GetTerm(); term != 1 {
			t.Errorf("term %d", term)
		}
	})
}

// The controller dies, or its store answers nothing, between making a replica and entering it: it is adopted later.
func TestOrphanIsAdopted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := newFaultyStore()
		w := newWorld(t, func(c *Config) { c.ShardsPerNode, c.Store = 1, store })
		table := w.watch("proxy p1")
		store.set(func(s *faultyStore) {
			s.commit = func(txn metastore.Txn) error {
				if slices.ContainsFunc(txn.Puts, func(p metastore.Put) bool { return strings.Contains(p.Key, "/shards/") }) {
					return fault.Errorf("", fault.Unavailable, "etcd is down")
				}
				return nil
			}
		})
		n := w.node("n1", nil)
		pass(10 * time.Second)
		store.set(func(s *faultyStore) { s.commit = nil })
		s := await(t, table, "a led shard", allLed(1))
		n.mu.Lock()
		defer n.mu.Unlock()
		if len(n.replicas) != 1 || s.Shard(1).GetInSync()[0].GetIncarnation() != 1 {
			t.Errorf("%d replicas, %v", len(n.replicas), s.Shard(1))
		}
	})
}

// What somebody else began is not resumed: the term is raised again.
func TestForeignElectionIsNotResumed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, oneShard)
		table := w.watch("proxy p1")
		w.node("n1", nil)
		s := await(t, table, "a led shard", allLed(1))
		foreign := &controlv1.Shard{
			Id: 1, Term: 9, Phase: controlv1.Phase_PHASE_ELECTING, MinInSync: 1,
			Replicas: s.Shard(1).GetReplicas(), InSync: s.Shard(1).GetInSync(),
		}
		book := w.c.current.Load().book
		draft := &metastore.Draft{}
		draft.Put(book.Keys.Shard(1), foreign)
		if _, err := book.Commit(t.Context(), draft); err != nil {
			t.Fatal(err)
		}
		s = await(t, table, "led in a term of our own", func(s *metadata.Snapshot) bool { return s.Shard(1).GetLeader() != nil && s.Shard(1).GetTerm() > 1 })
		if term := s.Shard(1).GetTerm(); term != 10 {
			t.Errorf("term %d", term)
		}
	})
}

// A replica that obeyed newer metadata than there are blocks its shard until somebody restores them.
func TestMetadataThatWentBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, oneShard)
		table := w.watch("proxy p1")
		n := w.node("n1", nil)
		await(t, table, "a led shard", allLed(1))
		n.mu.Lock()
		n.fence = func(_ *replicav1.FenceRequest, r *replicav1.FenceResponse) error {
			r.Seen = &replicav1.Seen{Term: 1, ModRevision: 1_000_000}
			return nil
		}
		n.mu.Unlock()
		n.restart()
		pass(5 * time.Second)
		blocked := w.c.current.Load().repair.Blocked()
		if table.Snapshot().Shard(1).GetLeader() != nil || !strings.Contains(blocked[1], "etcd went back in time") {
			t.Errorf("%v %v", table.Snapshot().Shard(1), blocked)
		}
	})
}

// Two controllers that both believe they lead, slow answers, a node that restarts all the time: whatever the order, no
// term ever has two leaders, and in the end there is one.
func TestTwoControllersOneLeader(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) { twoControllers(t, rand.New(rand.NewPCG(seed, seed))) })
		})
	}
}

func twoControllers(t *testing.T, random *rand.Rand) {
	t.Helper()
	var mu sync.Mutex
	some := func(upTo time.Duration) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(random.Int64N(int64(upTo)))
	}
	store := newFaultyStore()
	w := newWorld(t, func(c *Config) { c.ShardsPerNode, c.Store = 1, store })
	table := w.watch("proxy p1")
	n := w.node("n1", func(n *fakeNode) { n.delay = func() time.Duration { return some(60 * time.Millisecond) } })
	await(t, table, "a led shard", allLed(1))
	second, err := New(Config{
		Cluster: "test", Address: "rival", Store: store, ShardsPerNode: 1, Dial: w.dialer.Conn, Now: time.Now, Log: testLog(t),
		AutoCreateTopics: true, AutoCreateGroups: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.tasks.Go(func() {
		if err := second.Run(t.Context()); err != nil {
			t.Error(err)
		}
	})
	<-second.Ready()
	store.set(func(s *faultyStore) { s.get = func() { <-time.NewTimer(some(20 * time.Millisecond)).C } })
	for range 40 {
		// The rival sees the node as well, sometimes in an earlier life than the first one does.
		sessions := second.current.Load().sessions
		session, err := sessions.reserve(1, n.reportNow())
		if err != nil && !fault.Is(err, fault.Unavailable) {
			t.Fatal(err)
		}
		if session != nil {
			sessions.begin(session, 1)
		}
		if some(3) == 0 {
			n.restart()
		}
		pass(some(200 * time.Millisecond))
		if session != nil {
			sessions.close(session)
		}
	}
	store.set(func(s *faultyStore) { s.get = nil })
	pass(10 * time.Second)
	await(t, table, "a led shard", allLed(1))
	states := history(t, store.Memory, 1)
	checkHistory(t, states)
	if len(states) < 20 {
		t.Errorf("only %d states: the two did not meet", len(states))
	}
}
