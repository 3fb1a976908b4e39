// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/internal/metadata"
)

// A node that cannot be who it says, or remembers more than etcd does, is refused with one sentence, and changes
// nothing.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fakeNode)
		says   []string
	}{
		"another cluster": {
			func(n *fakeNode) { n.cluster, n.id = "elsewhere", 1 },
			[]string{"belong to cluster elsewhere", "choose another --data"},
		},
		"another folder under the name": {
			func(n *fakeNode) { n.name, n.uuid = "n1", "another" },
			[]string{"the name n1 belongs to a node with another data folder", "another --node"},
		},
		"the folder under another name": {
			func(n *fakeNode) { n.uuid = "uuid of n1" },
			[]string{"this data folder belongs to node n1: give --node n1"},
		},
		"a number that nobody knows": {
			func(n *fakeNode) { n.id = 5 },
			[]string{"joined before as number 5", "the cluster does not know it", "restore etcd from a newer backup"},
		},
		"an id above the counter": {
			func(n *fakeNode) { n.maxID = 10_000 },
			[]string{"name topic or group 10000", "ids up to", "restore etcd from a newer backup"},
		},
		"a shard above the counter": {
			func(n *fakeNode) { n.replicas[77] = &fakeReplica{incarnation: 1, state: "FENCED"} },
			[]string{"replica of shard 77", "restore etcd"},
		},
		"an incarnation above the counter": {
			func(n *fakeNode) { n.replicas[1] = &fakeReplica{incarnation: 99, state: "FENCED"} },
			[]string{"incarnation 99", "restore etcd"},
		},
		"no data UUID": {
			func(n *fakeNode) { n.uuid = "" },
			[]string{"--advertise"},
		},
		"a bad name": {
			func(n *fakeNode) { n.name = "n 2" },
			[]string{`"n 2"`, "--node"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t, nil)
				table := w.watch("proxy p1")
				first := w.node("n1", nil)
				await(t, table, "two led shards", allLed(2))
				first.stop()
				pass(silenceMax)
				before := table.Snapshot()
				n := w.node("n2", c.change)
				refusal := <-n.refusal
				for _, part := range c.says {
					if !strings.Contains(refusal, part) {
						t.Errorf("%q does not say %q", refusal, part)
					}
				}
				if strings.Contains(refusal, "\n") {
					t.Errorf("%q", refusal)
				}
				pass(5 * time.Second)
				if s := table.Snapshot(); s.Counts().Nodes != 1 || s.Node(1) != before.Node(1) {
					t.Errorf("%v", s.Counts())
				}
			})
		})
	}
}

// A shard that took part in an election and is not known any more was lost with the metadata.
func TestRefusalOfALostShard(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		table := w.watch("proxy p1")
		n := w.node("n1", nil)
		await(t, table, "two led shards", allLed(2))
		n.stop()
		book := w.c.current.Load().book
		for _, c := range []struct {
			term   uint64
			refuse bool
		}{{0, false}, {3, true}} {
			other := w.node("n2", func(other *fakeNode) {
				other.replicas[2] = &fakeReplica{incarnation: 2, term: c.term, state: "FENCED"}
			})
			if !c.refuse {
				await(t, table, "joined", func(s *metadata.Snapshot) bool { return nodeByName(s, "n2") != nil })
				other.stop()
				// The shard vanishes from the metadata.
				deleteKey(t, book, book.Keys.Shard(2))
				await(t, table, "gone", func(s *metadata.Snapshot) bool { return s.Shard(2) == nil })
				pass(silenceMax)
				continue
			}
			if refusal := <-other.refusal; !strings.Contains(refusal, "has data of shard 2, but the cluster does not know that shard") {
				t.Error(refusal)
			}
		}
	})
}

// While a process reports, another one with a copy of its folder is kept out; it may come when the first is silent.
func TestTwoProcessesOfOneFolder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		table := w.watch("proxy p1")
		first := w.node("n1", nil)
		await(t, table, "two led shards", allLed(2))
		first.mu.Lock()
		replicas := map[uint32]*fakeReplica{}
		for id, r := range first.replicas {
			clone := *r
			clone.state = "FENCED"
			replicas[id] = &clone
		}
		first.mu.Unlock()
		// Same name and folder, another address and process.
		second := &fakeNode{
			w: w, name: "n1", address: "copy:1", uuid: "uuid of n1", instance: 99, replicas: replicas, refusal: make(chan string, 1),
		}
		second.start()
		pass(time.Minute)
		s := table.Snapshot()
		if s.Shard(1).GetLeaderInstance() != 1 || s.Shard(1).GetTerm() != 1 {
			t.Errorf("%v", s.Shard(1))
		}
		if n := nodeByName(s, "n1"); n.GetAddress() != "n1:1" || n.GetInstance() != 1 {
			t.Errorf("the one that was kept out changed the record: %v", n)
		}
		select {
		case refusal := <-second.refusal:
			t.Errorf("refused for good: %s", refusal)
		default:
		}
		first.stop()
		await(t, table, "the second one leads", func(s *metadata.Snapshot) bool {
			return s.Shard(1).GetLeaderInstance() == 99 && s.Shard(2).GetLeaderInstance() == 99
		})
	})
}

func deleteKey(t *testing.T, book *metastore.Book, key string) {
	t.Helper()
	draft := &metastore.Draft{}
	draft.Delete(key)
	if _, err := book.Commit(t.Context(), draft); err != nil {
		t.Fatal(err)
	}
}
