// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	replicav1 "github.com/mansiomq/mansio/proto/mansio/replica/v1"
)

// WriteQuorum is W: how many members of the in-sync set must hold an entry before
// it is committed.
func WriteQuorum(shard *controlv1.Shard) int {
	return max(int(shard.GetMinInSync()), len(shard.GetInSync())/2+1)
}

// FenceQuorum is R: how many clean answers an election needs, so that every
// committed entry is held by at least one that answered.
func FenceQuorum(shard *controlv1.Shard) int {
	return len(shard.GetInSync()) - WriteQuorum(shard) + 1
}

// Answer is what one member of the in-sync set said to Fence.
type Answer struct {
	Member   *controlv1.ReplicaID
	Response *replicav1.FenceResponse // nil: none came
	Failure  string                   // then: why
	// Life is the instance of the process that holds the node's session now.
	Life uint64
}

// Verdict is the outcome of an election.
type Verdict struct {
	Leader   *controlv1.ReplicaID // nil: nobody
	Instance uint64
	ClockMS  int64 // median of the answers' clocks
	// Reason says why nobody was chosen. Hopeless: trying again changes nothing until
	// a node restarts or an operator acts.
	Reason   string
	Hopeless bool
}

// Metadata is what the controller knows of the history of its own metadata.
type Metadata struct {
	Revision      int64
	EtcdClusterID uint64
}

// Choose decides an election of the shard's term by the answers to Fence.
func Choose(shard *controlv1.Shard, answers []Answer, known Metadata) Verdict {
	var best *Answer
	var verdict Verdict
	clean, hopeless := 0, true
	var clocks []int64
	for i := range answers {
		answer := &answers[i]
		problem, lasting := dirty(shard, answer, known)
		if problem != "" {
			verdict.Reason = problem
			hopeless = hopeless && lasting
			continue
		}
		clean++
		clocks = append(clocks, answer.Response.GetNowMs())
		if best == nil || better(answer.Response, best.Response) {
			best = answer
		}
	}
	if need := FenceQuorum(shard); clean < need || best == nil {
		verdict.Hopeless = hopeless && len(answers) > 0
		if verdict.Reason == "" {
			verdict.Reason = "nobody was asked"
		}
		if len(shard.GetInSync()) > 1 {
			verdict.Reason = fmt.Sprintf("%d clean answers, %d needed; last problem: %s", clean, need, verdict.Reason)
		}
		return verdict
	}
	slices.Sort(clocks)
	return Verdict{
		Leader: proto.CloneOf(best.Member), Instance: best.Response.GetInstance(), ClockMS: clocks[len(clocks)/2],
	}
}

// dirty says why an answer does not count, "" when it does, and whether only an
// operator or another life of the node can change that.
func dirty(shard *controlv1.Shard, answer *Answer, known Metadata) (problem string, lasting bool) {
	r, node := answer.Response, answer.Member.GetNode()
	seen := r.GetSeen()
	switch {
	case r == nil:
		return fmt.Sprintf("n%d does not answer: %s", node, answer.Failure), false
	case r.GetInstance() != answer.Life:
		// The plan compares leaders with sessions: a leader whose session is of an earlier life would be elected
		// again and again.
		return fmt.Sprintf("n%d answers as another process than the one that reports", node), false
	case r.GetAbsent():
		return fmt.Sprintf("n%d does not have its replica (incarnation %d): its disk was lost or replaced; nothing is made anew by itself",
			node, answer.Member.GetIncarnation()), true
	case seen.GetEtcdClusterId() != 0 && known.EtcdClusterID != 0 && seen.GetEtcdClusterId() != known.EtcdClusterID:
		return fmt.Sprintf("the replica on n%d obeyed another etcd (%x, now %x): etcd was replaced or restored",
			node, seen.GetEtcdClusterId(), known.EtcdClusterID), true
	case max(seen.GetTerm(), r.GetCurrentTerm()) > shard.GetTerm() || seen.GetModRevision() > known.Revision:
		return fmt.Sprintf("the replica on n%d obeyed newer metadata (term %d, revision %d) than etcd has (term %d, revision %d): etcd went back in time",
			node, max(seen.GetTerm(), r.GetCurrentTerm()), seen.GetModRevision(), shard.GetTerm(), known.Revision), true
	case r.GetRefusal() != "":
		return fmt.Sprintf("n%d refuses: %s", node, r.GetRefusal()), false
	case r.GetLossy():
		return fmt.Sprintf("the replica on n%d may have lost its tail", node), true
	default:
		return "", false
	}
}

func better(a, b *replicav1.FenceResponse) bool {
	if a.GetLastTerm() != b.GetLastTerm() {
		return a.GetLastTerm() > b.GetLastTerm()
	}
	return a.GetEnd() > b.GetEnd()
}
