// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// States that a node reports of its replicas.
const (
	StateAbsent     = "ABSENT"
	StateFenced     = "FENCED"
	StateRecovering = "RECOVERING"
	StateLeader     = "LEADER"
	StateFailed     = "FAILED"
)

// Replica is what a node reported of one replica.
type Replica struct {
	Shard       ident.Shard
	Incarnation uint64
	Term        ident.Term
	State       string
	Failure     string
}

// Node is a store node that reports now.
type Node struct {
	ID       ident.Node
	Name     string
	Instance uint64 // of its process
	Replicas []Replica
}

// find returns the report on that replica, or nil when there is none.
func (n *Node) find(shard ident.Shard, incarnation uint64) *Replica {
	for i := range n.Replicas {
		if r := &n.Replicas[i]; r.Shard == shard && (r.Incarnation == incarnation || r.Incarnation == 0) {
			return r
		}
	}
	return nil
}

// State is all that a plan depends on.
type State struct {
	Shards        []*controlv1.Shard
	Nodes         []Node // live ones
	ShardsPerNode int
	// LastShard and LastIncarnation are how far the counters are.
	LastShard       ident.Shard
	LastIncarnation uint64
}

// Kind says what an action does.
type Kind int

// The kinds.
const (
	// Create makes a new shard on Node.
	Create Kind = iota
	// Adopt enters into the metadata a replica that Node has made for us already.
	Adopt
	// Elect finds a leader for Shard in a new term.
	Elect
	// Lead tells Node again that it leads Shard.
	Lead
	// Blocked does nothing: Shard has no leader and cannot get one, Reason says why.
	Blocked
)

func (k Kind) String() string { return [...]string{"create", "adopt", "elect", "lead", "blocked"}[k] }

// Action is one thing to do.
type Action struct {
	Kind        Kind
	Node        ident.Node
	Shard       ident.Shard
	Incarnation uint64 // Adopt: the replica's
	Reason      string // for people
}

// String is one line, for logs and golden files.
func (a Action) String() string {
	switch a.Kind {
	case Create:
		return fmt.Sprintf("create on n%d: %s", a.Node, a.Reason)
	case Adopt:
		return fmt.Sprintf("adopt s%d/%d on n%d: %s", a.Shard, a.Incarnation, a.Node, a.Reason)
	case Lead:
		return fmt.Sprintf("lead s%d on n%d: %s", a.Shard, a.Node, a.Reason)
	default:
		return fmt.Sprintf("%s s%d: %s", a.Kind, a.Shard, a.Reason)
	}
}

// Next returns what to do now, shards in order, then new ones.
func Next(s State) []Action {
	nodes := make(map[ident.Node]*Node, len(s.Nodes))
	for i := range s.Nodes {
		nodes[s.Nodes[i].ID] = &s.Nodes[i]
	}
	shards := slices.Clone(s.Shards)
	slices.SortFunc(shards, func(a, b *controlv1.Shard) int { return cmp.Compare(a.GetId(), b.GetId()) })
	var actions []Action
	for _, shard := range shards {
		actions = append(actions, lead(shard, nodes)...)
	}
	return append(actions, grow(s, shards)...)
}

// lead returns what the leadership of one shard needs.
func lead(shard *controlv1.Shard, nodes map[ident.Node]*Node) []Action {
	id := ident.Shard(shard.GetId())
	var reason string
	if shard.GetPhase() != controlv1.Phase_PHASE_STEADY || shard.GetLeader() == nil {
		reason = "no leader"
	} else {
		node := nodes[ident.Node(shard.GetLeader().GetNode())]
		if node == nil {
			return nil // silent, not deposed
		}
		if node.Instance == shard.GetLeaderInstance() {
			return remind(shard, node)
		}
		reason = fmt.Sprintf("n%d was restarted", node.ID)
	}
	usable, why := 0, ""
	for _, member := range shard.GetInSync() {
		if problem := unusable(id, member, nodes); problem != "" {
			why = problem
		} else {
			usable++
		}
	}
	if need := FenceQuorum(shard); usable < need {
		return []Action{{Kind: Blocked, Shard: id, Reason: why}}
	}
	return []Action{{Kind: Elect, Shard: id, Reason: reason}}
}

// remind tells a leader that does not act as one.
func remind(shard *controlv1.Shard, node *Node) []Action {
	id := ident.Shard(shard.GetId())
	replica := node.find(id, shard.GetLeader().GetIncarnation())
	switch {
	case replica == nil || replica.Term > ident.Term(shard.GetTerm()):
		return nil // the report is older or newer than what we know
	case replica.State == StateFailed:
		return []Action{{Kind: Blocked, Shard: id, Reason: fmt.Sprintf("the replica on n%d failed: %s", node.ID, replica.Failure)}}
	case replica.State == StateFenced:
		return []Action{{Kind: Lead, Shard: id, Node: node.ID, Reason: "fenced, although elected"}}
	default:
		return nil
	}
}

// unusable says why a member of the in-sync set cannot take part in an election;
// "" when it can. A replica that is not in the report may be newer than it.
func unusable(shard ident.Shard, member *controlv1.ReplicaID, nodes map[ident.Node]*Node) string {
	node := nodes[ident.Node(member.GetNode())]
	if node == nil {
		return fmt.Sprintf("n%d does not report", member.GetNode())
	}
	replica := node.find(shard, member.GetIncarnation())
	switch {
	case replica == nil:
		return ""
	case replica.State == StateAbsent:
		return fmt.Sprintf("n%d does not have its replica (incarnation %d)", node.ID, member.GetIncarnation())
	case replica.State == StateFailed:
		return fmt.Sprintf("the replica on n%d failed: %s", node.ID, replica.Failure)
	default:
		return ""
	}
}

// grow returns the shards that live nodes lack.
func grow(s State, shards []*controlv1.Shard) []Action {
	known := make(map[ident.Shard]bool, len(shards))
	count := make(map[ident.Node]int)
	for _, shard := range shards {
		known[ident.Shard(shard.GetId())] = true
		for _, replica := range shard.GetReplicas() {
			count[ident.Node(replica.GetNode())]++
		}
	}
	nodes := slices.Clone(s.Nodes)
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	var actions []Action
	for i := range nodes {
		node := &nodes[i]
		lack := s.ShardsPerNode - count[node.ID]
		for _, r := range node.Replicas {
			if lack > 0 && !known[r.Shard] && r.orphan(s) {
				actions = append(actions, Action{
					Kind: Adopt, Node: node.ID, Shard: r.Shard, Incarnation: r.Incarnation, Reason: "made, but not entered",
				})
				lack--
			}
		}
		for have := s.ShardsPerNode - lack; have < s.ShardsPerNode; have++ {
			actions = append(actions, Action{
				Kind: Create, Node: node.ID, Reason: fmt.Sprintf("has %d of %d shards", have, s.ShardsPerNode),
			})
		}
	}
	return actions
}

// orphan reports whether a replica that the metadata do not know is one that this
// cluster asked for and that never held anything.
func (r Replica) orphan(s State) bool {
	return r.Term == 0 && r.State != StateFailed && r.State != StateAbsent && r.Incarnation != 0 &&
		r.Shard <= s.LastShard && r.Incarnation <= s.LastIncarnation
}
